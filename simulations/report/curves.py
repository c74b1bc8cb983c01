"""Usefulness over ε as a picture: one panel a study, one line a mode."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from common.plots import LINES, MUTED
from simulations.report.figures import OPEN

COLOURS = {"distributed": LINES[0], "local": LINES[2]}
NAMES = {"distributed": "distributed: shares of one noise", "local": "local: noise at each site"}
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class CurvePoint:
    """What a study reached at one ε.

    Args:
        epsilon: ε of the whole run at a site; None without privacy.
        uar: mean over repeats of unweighted average recall.
        deviation: its standard deviation over repeats; 0 for a single one.
        repeats: how many there were.
    """

    epsilon: float | None
    uar: float
    deviation: float
    repeats: int


@dataclass(frozen=True)
class Curves:
    """A study's usefulness over ε.

    Args:
        study: its name.
        unit: whom ε speaks about.
        delta: δ of every point.
        chance: UAR of guessing.
        by_mode: mode -> points, by rising ε.
        without_privacy: the same study with privacy.mode=none, where it was run.
    """

    study: str
    unit: str
    delta: float
    chance: float
    by_mode: dict[str, tuple[CurvePoint, ...]]
    without_privacy: CurvePoint | None


def draw_curves(studies: Sequence[Curves], path: Path) -> Path:
    """Draw the curves of one or several studies side by side; returns the picture's path."""
    columns = min(2, len(studies))
    rows = -(-len(studies) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.5 + 4.2 * columns, 0.7 + 2.7 * rows), layout="constrained")
        panels: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flatten())
        for axes, curves in zip(panels, studies, strict=False):
            _panel(axes, curves)
        for axes in panels[len(studies) :]:
            axes.set_axis_off()
        _legend(figure, panels[: len(studies)])
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata={"Software": None} if path.suffix == ".png" else {})
    return path


def _panel(axes: Axes, curves: Curves) -> None:
    every = (point.epsilon for points in curves.by_mode.values() for point in points)
    epsilons = sorted({epsilon for epsilon in every if epsilon is not None})
    for mode, points in curves.by_mode.items():
        axes.errorbar(
            [point.epsilon or 0.0 for point in points],
            [100 * point.uar for point in points],
            yerr=[100 * point.deviation for point in points],
            color=COLOURS.get(mode, MUTED),
            label=NAMES.get(mode, mode),
            marker="o",
            ms=4,
            capsize=3,
        )
    if curves.without_privacy:
        uar, spread = curves.without_privacy.uar, curves.without_privacy.deviation
        axes.axhline(100 * uar, color=OPEN, linewidth=1.5, label="without privacy")
        axes.axhspan(100 * (uar - spread), 100 * (uar + spread), color=OPEN, alpha=0.12, lw=0)
    axes.axhline(100 * curves.chance, color=MUTED, linestyle="--", linewidth=1, label="chance")
    axes.set_xscale("log", base=2)
    axes.set_xticks(epsilons, labels=[f"{epsilon:g}" for epsilon in epsilons])
    axes.minorticks_off()
    axes.set(
        title=curves.study, xlabel=f"ε per {curves.unit} (δ = {curves.delta:g})", ylabel="UAR %"
    )


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend for all panels, below them."""
    found = {
        name: handle
        for axes in panels
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=2)


def curves_table(curves: Curves) -> Table:
    """The curves as a table: a line for each ε, a column for each mode."""
    title = f"{curves.study}: UAR %, ε per {curves.unit}, δ = {curves.delta:g}"
    table = Table(title=title, min_width=len(title))
    table.add_column("ε", justify="right")
    for mode in curves.by_mode:
        table.add_column(mode, justify="right")
    cells: dict[float, dict[str, str]] = {}
    for mode, points in curves.by_mode.items():
        for point in points:
            cells.setdefault(point.epsilon or 0.0, {})[mode] = _mean_and_spread(point)
    for epsilon, by_mode in sorted(cells.items()):
        table.add_row(f"{epsilon:g}", *(by_mode.get(mode, "") for mode in curves.by_mode))
    if curves.without_privacy:
        table.caption = f"without privacy: {_mean_and_spread(curves.without_privacy)}"
    return table


def _mean_and_spread(point: CurvePoint) -> str:
    return f"{100 * point.uar:.1f} ± {100 * point.deviation:.1f}"
