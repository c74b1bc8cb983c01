"""What a benchmark finds: figures beside those asked, curves, and how it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["faster", "share", "most", "least"]
Setting = Mapping[str, int | float | str]


@dataclass(frozen=True)
class Figure:
    """One figure, and what was asked of it.

    Args:
        what: was measured.
        setting: under which it was, in the order of the table's columns: {"sites": 10}.
        kind: "faster": ratio is baseline / tacit, asked is the least; "share": ratio is
            tacit / baseline, asked is the largest; "most" and "least": tacit itself is
            compared with what was asked, and there is no ratio.
        unit: of baseline and tacit: "s", "B", "%" …; "" for a plain number.
        baseline: the other side's cost.
        tacit: this project's cost.
        ratio: of both; alone where it sums up others, such as a geometric mean.
        asked: of the figure; None where it is only reported.
        note: in words, what a reader must know; why it was not measured.
    """

    what: str
    setting: Setting
    kind: Kind
    unit: str = "s"
    baseline: float | None = None
    tacit: float | None = None
    ratio: float | None = None
    asked: float | None = None
    note: str = ""

    @property
    def measured(self) -> float | None:
        """What is compared with what was asked."""
        return self.ratio if self.kind in ("faster", "share") else self.tacit

    @property
    def met(self) -> bool | None:
        """Whether what was asked is met; None where nothing was asked or measured."""
        if self.asked is None or self.measured is None:
            return None
        if self.kind in ("faster", "least"):
            return self.measured >= self.asked
        return self.measured <= self.asked

    @property
    def verdict(self) -> str:
        """How it ended, in words that need no colour."""
        if self.measured is None:
            return "not measured"
        return {True: "met", False: "MISSED", None: "reported"}[self.met]


def faster(
    what: str,
    setting: Setting,
    costs: tuple[float, float],
    asked: float | None = None,
    unit: str = "s",
) -> Figure:
    """Return how many times less Tacit needs than the baseline.

    Args:
        what: was measured.
        setting: under which.
        costs: of the baseline, of Tacit.
        asked: at least.
        unit: of the costs.
    """
    baseline, tacit = costs
    return Figure(what, setting, "faster", unit, baseline, tacit, baseline / tacit, asked)


def share(
    what: str,
    setting: Setting,
    costs: tuple[float, float],
    asked: float | None = None,
    unit: str = "s",
) -> Figure:
    """Return which share of the baseline's cost Tacit needs: 1.3 is 30 % more.

    Args:
        what: was measured.
        setting: under which.
        costs: of the baseline, of Tacit.
        asked: at most.
        unit: of the costs.
    """
    baseline, tacit = costs
    return Figure(what, setting, "share", unit, baseline, tacit, tacit / baseline, asked)


def at_most(
    what: str, setting: Setting, tacit: float, asked: float | None = None, unit: str = "s"
) -> Figure:
    """Return a figure of Tacit's own that should not be above what was asked."""
    return Figure(what, setting, "most", unit, tacit=tacit, asked=asked)


def at_least(
    what: str, setting: Setting, tacit: float, asked: float | None = None, unit: str = "s"
) -> Figure:
    """Return a figure of Tacit's own that should not be below what was asked."""
    return Figure(what, setting, "least", unit, tacit=tacit, asked=asked)


@dataclass(frozen=True)
class Curve:
    """How a cost grows.

    Args:
        name: of what is measured: "Tacit", "Flower SecAgg+".
        side: "tacit" or "baseline".
        x: what grows: "parameters".
        y: what is measured: "CPU of a client among 10 sites".
        unit: of y.
        points: (x, y), x ascending.
        variant: in which way it differs from the curve of the same name: "10 % dropped".
    """

    name: str
    side: Literal["tacit", "baseline"]
    x: str
    y: str
    unit: str
    points: tuple[tuple[float, float], ...]
    variant: str = ""


@dataclass(frozen=True)
class Outcome:
    """Everything that one benchmark found.

    Args:
        name: of the benchmark: "secagg".
        title: of its table.
        baseline: heading of the baseline's column: "Flower".
        machine: facts about it, by `simulations.bench.machine.facts`.
        options: with which the benchmark ran.
        figures: in the order of the table.
        curves: how costs grow; may be none.
    """

    name: str
    title: str
    baseline: str
    machine: Mapping[str, Any]
    options: Mapping[str, Any]
    figures: Sequence[Figure]
    curves: Sequence[Curve] = field(default=())

    @property
    def summary(self) -> dict[str, int]:
        """How many figures ended which way."""
        verdicts = [figure.verdict for figure in self.figures]
        names = ("met", "MISSED", "reported", "not measured")
        return {name.lower().replace(" ", "_"): verdicts.count(name) for name in names}
