"""Plots of a report as SVG that stands inside the page."""

from datetime import datetime
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from common.plots import LINES, MUTED, STYLE, as_svg, clear_figure

_SHORT_S = 60.0


def epsilon_over_charges(report: dict[str, Any]) -> str:
    """Plot how ε grew, charge by charge: all studies together, each study, and the cap."""
    with mpl.rc_context(STYLE):
        figure, axes = clear_figure(6.8, 3.1)
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
        return as_svg(figure, "charges", f"Line plot of ε after each charge; at the end {said}")


def trade_off(report: dict[str, Any]) -> str:
    """Plot the errors that somebody who tests for one unit cannot avoid."""
    with mpl.rc_context(STYLE):
        figure, axes = clear_figure(4.2, 3.3)
        points = report["all"]["trade_off"]
        alpha, beta = [p["alpha"] for p in points], [p["beta"] for p in points]
        axes.plot([0, 1], [1, 0], color=MUTED, linestyle="--", linewidth=1, label="a coin")
        axes.plot(alpha, beta, color=LINES[0], label="the best possible test")
        axes.fill_between(alpha, 0, beta, color=LINES[0], alpha=0.12, linewidth=0)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set(xlabel="says “took part”, wrongly", ylabel="misses somebody who did")
        axes.legend(loc="upper right")
        said = "Curve of the type II error against the type I error; no test comes below it"
        return as_svg(figure, "trade-off", said)


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
