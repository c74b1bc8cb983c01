"""How a study holds up while modalities are missing, as a picture and a table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from common.plots import LINES, MUTED
from simulations.report.curves import STYLE

NAMES = {"masked": "masked fusion", "zeros": "filled with zeros"}
COLOURS = {"masked": LINES[0], "zeros": LINES[1]}
MARKS: Any = {"marker": "o", "ms": 4, "capsize": 3}
PROTOCOLS = {
    "clips": "by clip, in training and evaluation",
    "clients": "by person, while training; nothing missing in evaluation",
}


@dataclass(frozen=True)
class MissingPoint:
    """What a study reached at one rate of missing modalities.

    Args:
        rate: chance that a modality of a clip is missing.
        uar: mean over runs of unweighted average recall.
        deviation: its standard deviation.
        repeats: how many runs.
    """

    rate: float
    uar: float
    deviation: float
    repeats: int


@dataclass(frozen=True)
class MissingCurves:
    """A study's recall over the rate of missing modalities.

    Args:
        study: its name.
        protocol: "clips" or "clients".
        draws: how often what is missing was drawn for each rate and fold.
        chance: UAR of guessing.
        by_treatment: "masked" and "zeros" -> points, by rising rate.
        gains: for each rate, how much masking gains, run by run: mean and standard error.
    """

    study: str
    protocol: str
    draws: int
    chance: float
    by_treatment: dict[str, tuple[MissingPoint, ...]]
    gains: tuple[tuple[float, float], ...]


def draw_missing(curves: MissingCurves, path: Path) -> Path:
    """Draw recall over the rate, and below it what masking gains; returns the picture's path."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.7, 4.6), layout="constrained")
        above, below = figure.subplots(2, sharex=True, height_ratios=(5, 2))
        _recall(above, curves)
        _gain(below, curves)
        figure.savefig(path, dpi=150, metadata={"Software": None})
    return path


def _recall(axes: Axes, curves: MissingCurves) -> None:
    for shift, (treatment, points) in enumerate(curves.by_treatment.items()):
        axes.errorbar(
            [100 * point.rate + 0.6 * shift for point in points],
            [100 * point.uar for point in points],
            yerr=[100 * point.deviation for point in points],
            color=COLOURS[treatment],
            label=NAMES[treatment],
            **MARKS,
        )
    axes.axhline(100 * curves.chance, color=MUTED, linestyle="--", linewidth=1, label="chance")
    axes.set(title=curves.study, ylabel="UAR %")
    axes.legend()


def _gain(axes: Axes, curves: MissingCurves) -> None:
    """Mean and standard error, run by run: too little to be seen between the curves."""
    rates = [100 * point.rate for point in curves.by_treatment["masked"]]
    gains, errors = ([100 * value for value in one] for one in zip(*curves.gains, strict=True))
    axes.errorbar(rates, gains, yerr=errors, color=COLOURS["masked"], **MARKS)
    axes.axhline(0, color=MUTED, linewidth=1)
    axes.set(xlabel=f"% missing, {PROTOCOLS[curves.protocol]}", ylabel="masking gains")


def missing_table(curves: MissingCurves) -> Table:
    """A line for each rate."""
    title = f"{curves.study}: UAR %, modalities missing {PROTOCOLS[curves.protocol]}"
    table = Table(title=title)
    masked, zeros = (curves.by_treatment[name] for name in NAMES)
    for column in ("missing %", *NAMES.values(), "masking gains", "lost"):
        table.add_column(column, justify="right")
    for one, other, (gain, error) in zip(masked, zeros, curves.gains, strict=True):
        table.add_row(
            f"{100 * one.rate:g}",
            f"{100 * one.uar:.1f} ± {100 * one.deviation:.1f}",
            f"{100 * other.uar:.1f} ± {100 * other.deviation:.1f}",
            f"{100 * gain:+.2f} ± {100 * error:.2f}",
            f"{100 * (masked[0].uar - one.uar):.1f}",
        )
    table.caption = (
        "Mean ± standard deviation over runs; what masking gains is the mean over runs with equal "
        f"folds and equal gaps ± its standard error; lost is against {100 * masked[0].rate:g} %."
    )
    return table
