"""A finished run as one screen of 80 columns; wider where there is room and need."""

from dataclasses import replace
from pathlib import Path

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from common.affect import Evaluation
from common.affect.classes import CONFIDENCE
from common.affect.figures import Figure, main_figures
from simulations.report.page import interval, percent, spent_range
from simulations.report.run import RunResult, SiteAccount

MOST_SITES = 10
MOST_FIGURES = 12
BESIDE_NAME, BESIDE_PATH = 54, 12
"""Columns that a line of the summary takes beside a site's name, and beside the report's path."""


def summary_screen(run: RunResult, report: Path | None = None) -> RenderableType:
    """Say in at most 40 lines what was reached, what it cost, and where to read more.

    Args:
        run: the finished run.
        report: where its page is, if it was written.
    """
    parts: list[RenderableType] = [_reached(run), Text()]
    parts += [_accounts(run), _ledger(run)] if run.mode != "none" else [Text("no privacy", "bold")]
    if report:
        parts.append(Text.assemble(("report  ", "dim"), str(report), overflow="fold"))
    title = f"{run.study}: {_scale(run)}"
    return Panel(Group(*parts), title=title, width=_width(run, report), padding=(0, 1))


def _width(run: RunResult, report: Path | None) -> int:
    """80, or as much as the longest name and the path need; less where a terminal has less."""
    name = max((len(site.name) for site in run.sites[:MOST_SITES]), default=0)
    return max(80, name + BESIDE_NAME, len(str(report)) + BESIDE_PATH if report else 0)


def _scale(run: RunResult) -> str:
    return f"{len(run.sites)} sites, {run.rounds[-1].round} rounds, {run.seconds:.0f} s"


def _reached(run: RunResult) -> Table:
    metrics, without = run.metrics, run.metrics_without_privacy
    if metrics is None or main_figures(replace(run.found, classes=None)):
        return _figures(run)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(f"{metrics.persons} persons never seen")
    for title in ("UAR", f"{metrics.confidence:.0%} interval", "weighted F1", "interval"):
        table.add_column(title, justify="right", no_wrap=True)
    name = "this model" if run.mode == "none" else "with privacy"
    for row, found, style in ((name, metrics, "bold"), ("without privacy", without, "")):
        if found:
            table.add_row(
                row,
                percent(found.uar.value),
                interval(found.uar),
                percent(found.weighted_f1.value),
                interval(found.weighted_f1),
                style=style,
            )
    table.add_row("chance", percent(metrics.chance), style="dim")
    if run.ceiling:
        table.add_row("ceiling", percent(run.ceiling.uar), style="dim")
    return table


def _figures(run: RunResult) -> Table:
    """A row for each main figure, where there is more than a class to tell of."""
    without = {one.name: one.text for one in _main(run.found_without_privacy)}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(f"{run.found.persons} persons never seen")
    name = "this model" if run.mode == "none" else "with privacy"
    more = ("without privacy",) if without else ()
    for title in (name, f"{CONFIDENCE:.0%} interval", *more):
        table.add_column(title, justify="right", no_wrap=True)
    shown = _main(run.found)
    for one in shown[:MOST_FIGURES]:
        table.add_row(one.name, one.text, one.interval, *([without.get(one.name, "–")] * len(more)))
    if len(shown) > MOST_FIGURES:
        table.add_row(f"and {len(shown) - MOST_FIGURES} more in the report", style="dim")
    return table


def _main(found: Evaluation | None) -> tuple[Figure, ...]:
    return main_figures(found) if found else ()


def _accounts(run: RunResult) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("site", overflow="fold")
    for title in ("ε spent", "ε left", "δ"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("unit")
    table.add_column("ledger")
    for site in run.sites[:MOST_SITES]:
        table.add_row(*_account(site))
    if len(run.sites) > MOST_SITES:
        rest = f"and {len(run.sites) - MOST_SITES} more"
        table.add_row(rest, f"all: {spent_range(run)}", style="dim")
    return table


def _account(site: SiteAccount) -> tuple[str | Text, ...]:
    verified = site.ledger_verified
    return (
        site.name,
        "–" if site.epsilon_spent is None else f"{site.epsilon_spent:.2f}",
        "no limit" if site.epsilon_left is None else f"{site.epsilon_left:.2f}",
        "–" if site.delta is None else f"{site.delta:.0e}",
        site.unit,
        Text("verified" if verified else "not verified", style="green" if verified else "bold red"),
    )


def _ledger(run: RunResult) -> Text:
    if run.ledgers_verified:
        return Text(f"ledger verified at all {len(run.sites)} sites", style="bold green")
    broken = [site.name for site in run.sites if not site.ledger_verified]
    return Text(f"ledger NOT verified at {', '.join(broken[:5])}", style="bold red")
