"""Plots of a checked manifest as SVG that stands inside the page."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.ticker import MaxNLocator

from common.plots import INK, LINES, MUTED, STYLE, as_svg, clear_figure


def bars(name: str, counts: Mapping[str, float], axis: str, line: float | None = None) -> str:
    """Plot a horizontal bar for each name; a line marks what chance would reach."""
    with mpl.rc_context(STYLE):
        figure, axes = clear_figure(5.0, 0.75 + 0.3 * max(len(counts), 1))
        shown = [text if len(text) <= 28 else text[:27] + "…" for text in counts]
        places = range(len(shown))
        axes.barh(places, list(counts.values()), color=LINES[0], height=0.65)
        axes.set_yticks(places, shown)
        axes.invert_yaxis()
        axes.set_axisbelow(True)
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.12)
        for place, value in zip(places, counts.values(), strict=True):
            axes.annotate(
                f"{value:g}", (value, place), (4, 0), textcoords="offset points", va="center",
                color=INK, fontsize=9,
            )  # fmt: skip
        if line is not None:
            axes.axvline(line, color=MUTED, linestyle="--", linewidth=1)
        axes.set_xlabel(axis)
        axes.set_xlim(left=0)
        said = ", ".join(f"{text} {value:g}" for text, value in counts.items())
        return as_svg(figure, name, f"Bars of {axis}: {said}")


def spread(name: str, values: Sequence[float], axis: str, count: str) -> str:
    """Plot how many have which value."""
    with mpl.rc_context(STYLE):
        figure, axes = clear_figure(5.0, 2.3)
        axes.hist(values, bins=min(30, max(5, len(set(values)))), color=LINES[0])
        axes.set(xlabel=axis, ylabel=count)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_axisbelow(True)
        axes.grid(visible=False, axis="x")
        said = f"Histogram of {axis}, from {min(values):g} to {max(values):g}"
        return as_svg(figure, name, said)
