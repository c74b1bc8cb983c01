"""Every figure of an evaluation by name, as tables and pages print it."""

from collections.abc import Iterator
from dataclasses import dataclass

from common.affect.evaluation import Evaluation
from common.affect.metrics import Metrics
from common.affect.moments import Estimate


@dataclass(frozen=True)
class Figure:
    """One figure.

    Args:
        name: what it is.
        value: the figure.
        span: its interval by person; None where the sums allow none.
        is_share: whether it is printed in percent.
    """

    name: str
    value: float
    span: tuple[float, float] | None = None
    is_share: bool = True

    @property
    def text(self) -> str:
        """The figure as it is printed."""
        return f"{100 * self.value:.1f} %" if self.is_share else f"{self.value:.3f}"

    @property
    def interval(self) -> str:
        """Its interval as it is printed; empty where there is none."""
        if self.span is None:
            return ""
        low, high = self.span
        if self.is_share:
            return f"{100 * low:.1f} – {100 * high:.1f} %"
        return f"{low:.3f} – {high:.3f}"


def figures_of(found: Evaluation) -> tuple[Figure, ...]:
    """List every figure of an evaluation, the most telling first."""
    classes = _of_classes(found.classes) if found.classes else ()
    return (*classes, *_of_raters(found), *_of_dimensions(found), *_of_labels(found))


def main_figures(found: Evaluation) -> tuple[Figure, ...]:
    """List the few figures that a summary has room for."""
    few = ("UAR", "weighted F1", "macro F1 of labels")
    named = {figure.name: figure for figure in figures_of(found)}
    return tuple(
        one for name, one in named.items() if name in few or name.startswith(("CCC", "MSE"))
    )


def headline(found: Evaluation) -> Figure:
    """Choose the figure that stands for the others: UAR, else CCC, else F1 of the labels.

    Of several dimensions it is the mean CCC, which has no interval: the sums hold no products of
    different dimensions.
    """
    if found.classes:
        return _estimated("UAR", found.classes.uar)
    if len(found.dimensions) == 1:
        return next(_of_dimensions(found))
    if found.dimensions:
        values = [one.ccc.value for one in found.dimensions.values()]
        return Figure("mean CCC", sum(values) / len(values), is_share=False)
    return next(_of_labels(found))


def _estimated(name: str, one: Estimate, *, is_share: bool = True) -> Figure:
    return Figure(name, one.value, (one.low, one.high), is_share)


def _of_classes(metrics: Metrics) -> Iterator[Figure]:
    yield _estimated("UAR", metrics.uar)
    yield _estimated("weighted F1", metrics.weighted_f1)
    yield _estimated("macro F1", metrics.macro_f1)
    yield _estimated("accuracy", metrics.accuracy)
    for name, one in metrics.recall.items():
        yield _estimated(f"recall of {name}", one)
    yield Figure("log-loss, nats", metrics.log_loss, is_share=False)
    yield Figure("calibration error", metrics.calibration_error)


def _of_raters(found: Evaluation) -> Iterator[Figure]:
    if found.raters:
        yield _estimated("votes placed alike", found.raters.overlap)
        yield _estimated("divergence from votes, nats", found.raters.divergence, is_share=False)


def _of_dimensions(found: Evaluation) -> Iterator[Figure]:
    for name, one in found.dimensions.items():
        yield _estimated(f"CCC of {name}", one.ccc, is_share=False)
        yield _estimated(f"MSE of {name}", one.mse, is_share=False)
        yield Figure(f"variance of {name}", one.variance, is_share=False)


def _of_labels(found: Evaluation) -> Iterator[Figure]:
    labels = found.labels
    if labels:
        yield _estimated("macro F1 of labels", labels.macro_f1)
        yield _estimated("accuracy of labels", labels.accuracy)
        yield from (_estimated(f"F1 of {name}", one) for name, one in labels.f1.items())
        yield from (Figure(f"share of {name}", share) for name, share in labels.held.items())
        yield Figure("calibration error of labels", labels.calibration_error)
