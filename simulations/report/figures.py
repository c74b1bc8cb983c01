"""Plots of a run as SVG that stands inside the page: its text takes the page's colour."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from common.affect.figures import Figure, headline
from common.plots import INK, LINES, MUTED, STYLE, as_svg, clear_figure
from simulations.report.run import RoundPoint, RunResult, SiteAccount

PRIVATE, OPEN = LINES[:2]


def accuracy_over_rounds(run: RunResult) -> str:
    """Plot the headline figure with its interval after each evaluated round, as SVG."""
    shown = headline(run.found)
    with mpl.rc_context(STYLE):
        figure, axes = clear_figure(6.4, 3.4)
        name = "without privacy" if run.mode == "none" else "with privacy"
        _curve(axes, run.rounds, PRIVATE, name)
        if run.rounds_without_privacy:
            _curve(axes, run.rounds_without_privacy, OPEN, "the same model without privacy")
        if run.metrics:
            chance = run.metrics.chance
            axes.axhline(chance, color=MUTED, linestyle="--", linewidth=1, label="chance")
        if run.ceiling and run.metrics:
            axes.axhline(
                run.ceiling.uar, color=MUTED, linestyle=":", linewidth=1.5, label="ceiling"
            )
        axes.set(xlabel="round", ylabel=f"{shown.name} on persons never seen")
        axes.set_ylim(*((0, 1) if shown.is_share else (None, 1)))
        _whole_rounds(axes)
        figure.legend(loc="outside lower center", ncols=2)
        first, last = run.rounds[0], run.rounds[-1]
        said = (
            f"Line plot: {shown.name} of {_short(headline(first.found))} after round {first.round} "
            f"and {_short(shown)} after round {last.round}"
        )
        return as_svg(figure, "accuracy", said)


def epsilon_over_rounds(run: RunResult) -> str:
    """Plot ε spent at each site after each round, as SVG; sites that spent alike share a line."""
    with mpl.rc_context(STYLE):
        figure, axes = clear_figure(6.4, 3.4)
        for colour, (sites, account) in zip(LINES, _alike(run.sites)[: len(LINES)], strict=False):
            rounds, spent = zip(*((0, 0.0), *account.epsilon_by_round), strict=True)
            axes.plot(rounds, spent, color=colour, marker=".", label=_listed(sites))
        limits = {site.epsilon_limit for site in run.sites if site.epsilon_limit is not None}
        if len(limits) == 1:
            axes.axhline(limits.pop(), color=MUTED, linestyle=":", linewidth=1.5, label="limit")
        axes.set(xlabel="round", ylabel=f"ε spent, per {run.sites[0].unit}")
        axes.set_ylim(bottom=0)
        _whole_rounds(axes)
        figure.legend(loc="outside lower center", ncols=2)
        said = f"Line plot: ε spent over {rounds[-1]} rounds, at {len(run.sites)} sites"
        return as_svg(figure, "epsilon", said)


def modality_bars(run: RunResult) -> str:
    """Plot UAR with everything shown and in each view of the modalities, as SVG."""
    metrics = run.metrics
    bars = [("everything", metrics.uar.value, PRIVATE)] if metrics else []
    bars += [
        (view, uar, OPEN if view.startswith("only") else MUTED)
        for view, uar in run.views.items()
        if uar is not None
    ]
    with mpl.rc_context(STYLE):
        figure, axes = clear_figure(6.4, 0.8 + 0.32 * len(bars))
        names, values, colours = zip(*bars, strict=True)
        drawn = axes.barh(names, values, color=colours, height=0.65)
        axes.bar_label(drawn, labels=[f"{value:.1%}" for value in values], padding=4, color=INK)
        if metrics:
            axes.axvline(metrics.chance, color=INK, linestyle="--", linewidth=1)
        axes.set(xlabel="UAR (dashed: chance)", xlim=(0, 1))
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        said = ", ".join(f"{name} {value:.0%}" for name, value in zip(names, values, strict=True))
        return as_svg(figure, "modalities", f"Bar plot of UAR: {said}")


def _curve(axes: Axes, points: Sequence[RoundPoint], colour: str, name: str) -> None:
    rounds = [point.round for point in points]
    shown = [headline(point.found) for point in points]
    axes.plot(rounds, [one.value for one in shown], color=colour, marker="o", ms=4, label=name)
    spans = [one.span for one in shown if one.span]
    if len(spans) == len(shown):
        low, high = zip(*spans, strict=True)
        axes.fill_between(rounds, low, high, color=colour, alpha=0.15, linewidth=0)


def _short(one: Figure) -> str:
    return f"{one.value:.0%}" if one.is_share else f"{one.value:.2f}"


def _whole_rounds(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _alike(sites: Sequence[SiteAccount]) -> list[tuple[list[str], SiteAccount]]:
    groups: dict[tuple[tuple[int, float], ...], tuple[list[str], SiteAccount]] = {}
    for site in sites:
        key = tuple((number, round(spent, 3)) for number, spent in site.epsilon_by_round)
        groups.setdefault(key, ([], site))[0].append(site.name)
    return list(groups.values())


def _listed(names: Sequence[str], most: int = 3) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
