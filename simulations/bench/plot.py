"""How the cost of a benchmark grows, as a picture: one panel for each quantity that grows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, NullFormatter, NullLocator

from common.errors import ConfigError
from simulations.bench.figures import Curve, Outcome
from simulations.bench.table import number

FORMATS = (".png", ".svg", ".pdf")
INK, MUTED = "#222222", "#6b7280"
LOOKS: dict[str, tuple[tuple[str, str], ...]] = {
    "tacit": (("#0072B2", "o"),),
    "baseline": (("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D")),
}
"""Colour and marker of each side's names in turn: Okabe and Ito's, which stay apart for
colour-blind readers; the markers tell them apart without any colour."""
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.color": MUTED,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
}


def checked(path: Path) -> Path:
    """Return the path of a picture, before anything is measured for it.

    Raises:
        ConfigError: it does not end like a picture, or is a folder.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"{path}: expected a name that ends with one of {', '.join(FORMATS)}.")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; expected the name of a file to write.")
    return path


def write_growth(outcome: Outcome, path: Path) -> Path:
    """Write the picture of an outcome's curves, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        growth(outcome).savefig(path, dpi=160)
    return path


def growth(outcome: Outcome) -> Figure:
    """Draw an outcome's curves, log-log: a panel for each pair of x and y."""
    panels: dict[tuple[str, str, str], list[Curve]] = {}
    for curve in outcome.curves:
        panels.setdefault((curve.x, curve.y, curve.unit), []).append(curve)
    figure = Figure(figsize=(5.2 * max(1, len(panels)), 4.8), layout="constrained")
    every = figure.subplots(1, max(1, len(panels)), squeeze=False)[0]
    looks = _looks(outcome.curves)
    for axes, ((x, y, unit), curves) in zip(every, panels.items(), strict=False):
        axes.set(xlabel=x, xscale="log", yscale="log")
        axes.set_title(y, loc="left", fontsize=11)
        for curve in curves:
            _draw(axes, curve, *looks[curve.side, curve.name])
        _ticks(axes, sorted({at for curve in curves for at, _ in curve.points}), unit)
        _name_ratio(axes, curves)
    handles = {line.get_label(): line for axes in every for line in axes.get_lines()}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    where = f"{outcome.machine['cpu']}, {outcome.machine['date'][:10]}"
    figure.suptitle(f"{where}; at the right: times what Tacit needs", fontsize=9)
    return figure


def _looks(curves: Sequence[Curve]) -> dict[tuple[str, str], tuple[str, str]]:
    """Return colour and marker of each name."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for side, looks in LOOKS.items():
        names = sorted({curve.name for curve in curves if curve.side == side}, reverse=True)
        found |= {(side, name): looks[i % len(looks)] for i, name in enumerate(names)}
    return found


def _draw(axes: Axes, curve: Curve, colour: str, marker: str) -> None:
    """Draw one curve; a variant has open markers on a dashed line."""
    xs, ys = zip(*curve.points, strict=True)
    label = f"{curve.name}, {curve.variant}" if curve.variant else curve.name
    variant: Any = {"linestyle": "--", "markerfacecolor": "white"} if curve.variant else {}
    axes.plot(xs, ys, color=colour, marker=marker, label=label, **variant)


def _ticks(axes: Axes, sizes: Sequence[float], unit: str) -> None:
    """Mark the sizes that were measured, and costs with their unit."""
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(EngFormatter(unit=unit))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _name_ratio(axes: Axes, curves: Sequence[Curve]) -> None:
    """Write at the largest size how many times less Tacit needs than each baseline."""
    plain = [curve for curve in curves if not curve.variant]
    ours = [curve for curve in plain if curve.side == "tacit"]
    for curve in plain:
        if curve.side == "tacit" or not ours or curve.points[-1][0] != ours[0].points[-1][0]:
            continue
        times = curve.points[-1][1] / ours[0].points[-1][1]
        axes.annotate(
            f"{number(times)}×",
            curve.points[-1],
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
        )
