"""Single cells of a manifest: numbers, windows, choices and labels."""

import difflib
import json
import math
from collections.abc import Callable, Mapping, Sequence

from client.data.table import Cell

Report = Callable[[str], None]
SHARE_TOLERANCE = 0.05


def is_inline(kind: str, cell: str) -> bool:
    """Return whether a cell is the content itself and no path."""
    if kind == "text":
        return not cell.lower().endswith(".txt") or "\n" in cell
    return kind == "features" and cell.startswith("[")


def number(name: str, cell: Cell, report: Report) -> float | None:
    """Return a finite number, or None for an empty cell or one that was reported."""
    if not cell:
        return None
    try:
        value = float(cell) if isinstance(cell, str) else math.nan
    except ValueError:
        value = math.nan
    if math.isfinite(value):
        return value
    report(f"{name}: expected a number, found {str(cell)[:40]!r}")
    return None


def window(row: Mapping[str, Cell], report: Report) -> tuple[float, float | None]:
    """Return start_s and end_s of a clip inside its file; without them, the whole file."""
    start_s = number("start_s", row.get("start_s", ""), report) or 0.0
    end_s = number("end_s", row.get("end_s", ""), report)
    if start_s < 0:
        report(f"start_s: expected 0 or more, found {start_s:g}")
    elif end_s is not None and end_s <= start_s:
        report(f"end_s: expected more than start_s = {start_s:g}, found {end_s:g}")
    return start_s, end_s


def choice(name: str, cell: Cell, known: Sequence[str], report: Report) -> str:
    """Return the cell when it is one of the known words, or "" when it is empty."""
    word = str(cell)
    if word and word not in known:
        report(f"{name}: expected {', '.join(known)} or nothing, found {word[:40]!r}")
        return ""
    return word


def label(
    row: Mapping[str, Cell], classes: Sequence[str], required: bool, report: Report
) -> tuple[float, ...]:
    """Return the share of each class: from label_dist where it is given, else from label."""
    if row.get("label_dist"):
        return _shares(str(row["label_dist"]), classes, report)
    if not classes:
        return ()
    word = str(row.get("label", ""))
    if word:
        _check_class("label", word, classes, report)
        return tuple(float(word == name) for name in classes)
    if required:
        report("label is empty, and so is label_dist")
    return ()


def _check_class(name: str, word: str, classes: Sequence[str], report: Report) -> None:
    if word not in classes:
        close = difflib.get_close_matches(word, classes, n=1, cutoff=0.5)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        known = ", ".join(classes)
        report(f"{name}: unknown label {word[:40]!r}; the study knows {known}{hint}")


def shares_of(text: str) -> dict[str, float] | None:
    """Return what a label_dist cell says, or None where it is no object of shares."""
    try:
        shares = json.loads(text)
    except (ValueError, RecursionError):
        return None
    good = isinstance(shares, dict) and all(map(_is_share, shares.values()))
    return shares if good else None


def _shares(text: str, classes: Sequence[str], report: Report) -> tuple[float, ...]:
    shares = shares_of(text)
    if shares is None:
        report(f'label_dist: expected JSON like {{"joy": 0.7, "fear": 0.3}}, found {text[:60]!r}')
        return ()
    for name in shares if classes else ():
        _check_class("label_dist", name, classes, report)
    total = sum(shares.values())
    if abs(total - 1) > SHARE_TOLERANCE:
        report(f"label_dist: expected shares that add up to 1, found {total:g}")
        return ()
    return tuple(float(shares.get(name, 0.0)) / total for name in classes)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
