"""Whether a row may be used in this run: the columns consent_scope, consent_until, withdrawn."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date

from client.data.table import Cell

YES = {"1", "true", "yes", "y", "t", "1.0"}
NO = {"", "0", "false", "no", "n", "f", "0.0"}


def consent_gap(
    row: Mapping[str, Cell],
    purpose: str,
    today: date,
    report: Callable[[str], None],
    scopes: Sequence[str] | None = None,
) -> str:
    """Return why a row may not be used, or "" when it may.

    Guarantees: a column that is there and does not plainly allow the run leaves the row
    out; a cell that cannot be understood is reported and leaves the row out too.

    Args:
        row: the manifest's cells; consent_scope lists purposes separated by ; , | or spaces.
        purpose: what the run is for.
        today: the last day on which consent_until may lie in the past is yesterday.
        report: called with each problem.
        scopes: words of consent_scope that cover the purpose, by the site's policy; a row without
            that column is then left out. None: the purpose's own name, where the column is there.
    """
    if "withdrawn" in row and _withdrawn(str(row["withdrawn"]), report):
        return "consent was withdrawn"
    if not _is_covered(row, purpose, scopes):
        return f"consent does not cover {purpose!r}"
    if row.get("consent_until") and _over(str(row["consent_until"]), today, report):
        return "consent has run out"
    return ""


def _withdrawn(cell: str, report: Callable[[str], None]) -> bool:
    if cell.lower() not in YES | NO:
        report(f"withdrawn: expected true or false, found {cell[:40]!r}")
    return cell.lower() not in NO


def _is_covered(row: Mapping[str, Cell], purpose: str, scopes: Sequence[str] | None) -> bool:
    if "consent_scope" not in row:
        return scopes is None
    wanted = {purpose} if scopes is None else set(scopes)
    return bool(wanted & _scopes(str(row["consent_scope"])))


def _scopes(cell: str) -> set[str]:
    for separator in ";,|":
        cell = cell.replace(separator, " ")
    return set(cell.split())


def _over(cell: str, today: date, report: Callable[[str], None]) -> bool:
    try:
        return date.fromisoformat(cell[:10]) < today
    except ValueError:
        report(f"consent_until: expected a date like 2027-12-31, found {cell[:40]!r}")
        return True
