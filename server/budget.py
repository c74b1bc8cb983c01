"""The sites' budgets as far as they chose to publish them, for the coordinator of a run."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from common.errors import ConfigError, TacitError
from common.keys import read_roster
from common.secagg.roster import Roster
from common.statements import Statement, StudyFigures, from_json

FOLDER = "budgets"
_ROSTERS = ("roster.json", "federation/roster.json")


@dataclass(frozen=True)
class Published:
    """What one site told.

    Args:
        site: its name in the roster.
        statement: its newest; None where it published nothing, or nothing that can be believed.
        problem: why a statement is not believed; empty where it is, or where there is none.
    """

    site: str
    statement: Statement | None
    problem: str = ""


def read_published(run: Path) -> tuple[Published, ...]:
    """Return what each site of a run published: RUN/budgets/SITE.json, checked.

    Raises:
        ConfigError: the folder holds no run: no roster.
    """
    roster = _roster(run)
    return tuple(_published(run / FOLDER / f"{site}.json", site, roster) for site in roster)


def federation_form(sites: tuple[Published, ...]) -> dict[str, Any]:
    """Return what `tacit budget federation --json` prints."""
    return {
        "format": "tacit budget federation",
        "version": 1,
        "sites": [
            {
                "site": one.site,
                "published": one.statement is not None,
                "problem": one.problem or None,
                "at": one.statement.at if one.statement else None,
                "studies": [_study(figures) for figures in _studies(one)],
            }
            for one in sites
        ],
    }


def federation_table(sites: tuple[Published, ...]) -> RenderableType:
    """Return what each site published, and which published nothing."""
    table = Table(title="Privacy spent, as sites published it", box=box.SIMPLE, pad_edge=False)
    for column in ("site", "study", "unit"):
        table.add_column(column, overflow="fold")
    for column in ("δ", "ε spent", "cap", "rounds", "more"):
        table.add_column(column, justify="right")
    table.add_column("told on", no_wrap=True)
    for one in sites:
        for figures in _studies(one):
            at = one.statement.at[:10] if one.statement else ""
            table.add_row(one.site, *_cells(figures), at)
    silent = [one.site for one in sites if one.statement is None and not one.problem]
    lines = [f"{one.site}: not believed: {one.problem}" for one in sites if one.problem]
    lines += [f"Published nothing: {', '.join(silent)}."] if silent else []
    return Group(table, Text("\n".join(lines)))


def _roster(run: Path) -> Roster:
    found = [run / name for name in _ROSTERS if (run / name).is_file()]
    if not found:
        raise ConfigError(f"{run} holds no run: expected {run / _ROSTERS[1]}.")
    return read_roster(found[0])


def _published(path: Path, site: str, roster: Roster) -> Published:
    try:
        statement = from_json(path.read_text(encoding="utf-8"), roster)
    except FileNotFoundError:
        return Published(site, None)
    except (OSError, UnicodeDecodeError, TacitError) as error:
        return Published(site, None, str(error))
    if statement.site != site:
        return Published(site, None, f"it is signed by {statement.site}")
    return Published(site, statement)


def _studies(one: Published) -> tuple[StudyFigures, ...]:
    return one.statement.studies if one.statement else ()


def _study(figures: StudyFigures) -> dict[str, Any]:
    return {**asdict(figures), "exact": list(figures.exact)}


def _cells(figures: StudyFigures) -> tuple[str, ...]:
    spent, cap = figures.epsilon_spent, figures.epsilon_cap
    return (
        figures.study,
        figures.unit,
        f"{figures.delta:g}",
        "no bound" if spent is None else f"{spent:.2f}",
        "none" if cap is None else f"{cap:.2f}",
        str(figures.rounds),
        "–" if figures.rounds_affordable is None else str(figures.rounds_affordable),
    )
