"""Plots as SVG that stands inside a page: one style, and text that takes the page's colour."""

import html
import io
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the page's text colour, and is replaced by it in the SVG."""
MUTED = "#8a8f98"
LINES = ("#2f7fd1", "#d9822b", "#2e9e5b", "#b5529c", "#8a6fd1", "#c2483d", "#1f9ba6", MUTED)
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.color": MUTED,
    "legend.frameon": False,
}


def clear_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of that many inches whose ground is the page's."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    return figure, axes


def as_svg(figure: Figure, name: str, said: str) -> str:
    """A figure as an SVG element; equal figures give equal text.

    Args:
        figure: drawn under STYLE.
        name: of the plot in its page; keeps its identifiers apart from other plots'.
        said: what a screen reader says.
    """
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    named = f'<svg role="img" aria-label="{html.escape(said)}"'
    return svg[svg.index("<svg") :].replace("<svg", named, 1).replace(INK, "currentColor")
