"""Plots of a report as SVG that stands inside the page."""

import html
import io
from datetime import datetime
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

INK, MUTED = "#1c2430", "#8a8f98"
_SHORT_S = 60.0
LINES = ("#2f7fd1", "#d9822b", "#2e9e5b", "#b5529c", "#8a6fd1", "#c2483d", "#1f9ba6")
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


def epsilon_over_charges(report: dict[str, Any]) -> str:
    """Plot how ε grew, charge by charge: all studies together, each study, and the cap."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure(3.1)
        accounts, by_time = report["studies"], _is_long(report["all"]["curve"])
        if len(accounts) != 1:
            accounts = [report["all"], *accounts]
        for colour, account in zip(LINES, accounts, strict=False):
            _steps(axes, account, colour, by_time)
        cap = report["all"]["epsilon_cap"]
        if cap is not None:
            axes.axhline(cap, color=MUTED, linestyle=":", linewidth=1.5, label=f"cap {cap:g}")
        axes.set(ylabel=f"ε spent, per {report['all']['unit']}")
        axes.set_ylim(bottom=0)
        _label_time(axes, by_time)
        figure.legend(loc="outside lower center", ncols=3)
        spent = report["all"]["epsilon_spent"]
        said = "no bound" if spent is None else f"{spent:.2f}"
        return _svg(figure, "charges", f"Line plot of ε after each charge; at the end {said}")


def trade_off(report: dict[str, Any]) -> str:
    """Plot the errors that somebody who tests for one unit cannot avoid."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure(3.3, width=4.2)
        points = report["all"]["trade_off"]
        alpha, beta = [p["alpha"] for p in points], [p["beta"] for p in points]
        axes.plot([0, 1], [1, 0], color=MUTED, linestyle="--", linewidth=1, label="a coin")
        axes.plot(alpha, beta, color=LINES[0], label="the best possible test")
        axes.fill_between(alpha, 0, beta, color=LINES[0], alpha=0.12, linewidth=0)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set(xlabel="says “took part”, wrongly", ylabel="misses somebody who did")
        axes.legend(loc="upper right")
        said = "Curve of the type II error against the type I error; no test comes below it"
        return _svg(figure, "trade-off", said)


def _steps(axes: Axes, account: dict[str, Any], colour: str, by_time: bool) -> None:
    points = [point for point in account["curve"] if point["epsilon"] is not None]
    if not points:
        return
    where: list[Any] = [_time(point) if by_time else point["seq"] for point in points]
    spent = [point["epsilon"] for point in points]
    name, start = account["study"] or "all studies together", where[0] if by_time else 0
    axes.plot([start, *where], [0.0, *spent], color=colour, drawstyle="steps-post", label=name)


def _label_time(axes: Axes, by_time: bool) -> None:
    if not by_time:
        axes.set_xlabel("entry of the ledger")
        axes.set_xlim(left=0)
        return
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_xlabel("time of the charge, UTC")


def _is_long(points: list[dict[str, Any]]) -> bool:
    """Whether charges lie far enough apart for an axis of time."""
    return bool(points) and (_time(points[-1]) - _time(points[0])).total_seconds() > _SHORT_S


def _time(point: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(point["at"])


def _figure(height: float, width: float = 6.8) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    return figure, axes


def _svg(figure: Figure, salt: str, said: str) -> str:
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    named = f'<svg role="img" aria-label="{html.escape(said)}"'
    return svg[svg.index("<svg") :].replace("<svg", named, 1)
