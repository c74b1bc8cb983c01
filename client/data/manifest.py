"""The manifest: one table per site that says which recordings there are, and of whom.

Every rule of docs/data.md is checked here, and every problem is reported at once with
file and line. Group columns stop here: a `Row` keeps them apart from what a model may see.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from client.data import cells
from client.data.consent import consent_gap
from client.data.rated import NO_SCALES, Asked, any_known, missing_targets, read_targets
from client.data.readers.files import inside
from client.data.table import Cell, Table, TableRow, read_table
from common.errors import DataError
from common.inputs import KINDS, kind_of
from common.targets import Scale

SPLITS = ("train", "validation", "test")
DIMENSIONS = ("valence", "arousal", "dominance")
REQUIRED = ("sample_id", "person_id")
SHOWN_PROBLEMS = 20

Source = Path | str | tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One clip.

    Args:
        line: where it stands in the manifest.
        label_C: share of each of the study's classes; empty without a label.
        places: for each of the study's dimensions and labels, where in its range the clip lies,
            0 to 1; None where nobody said.
        sources: modality -> a real path inside the folder, the text itself, or numbers.
        groups: group_* cells, for fairness reports only; never an input.
    """

    line: int
    sample_id: str
    person_id: str
    session_id: str
    start_s: float
    end_s: float | None
    split: str
    label_C: tuple[float, ...]
    sources: dict[str, Source]
    groups: dict[str, str] = field(default_factory=dict)
    places: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """The rows that may be used, and how many were left out for which reason."""

    path: Path
    unit: str
    modalities: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: dict[str, int]

    def where(self, line: int) -> str:
        """Return "file:line", as editors understand it."""
        return place(self.path, self.unit, line)


def place(path: Path, unit: str, line: int) -> str:
    """Return "file:line" for a CSV, "file: row n" for a Parquet file."""
    return f"{path}:{line}" if unit == "line" else f"{path}: row {line}"


def refuse(problems: Sequence[str], most: int = SHOWN_PROBLEMS) -> None:
    """Raise one DataError that holds the first problems and says how many more there are.

    Raises:
        DataError: when there is any problem.
    """
    if problems:
        shown = [*problems[:most]]
        if len(problems) > most:
            shown.append(f"… and {len(problems) - most} more problems")
        raise DataError("\n".join(shown))


def read_manifest(
    path: Path,
    classes: Sequence[str],
    purpose: str,
    today: date,
    *,
    modalities: Iterable[str] | None = None,
    labels: bool = True,
    scopes: Sequence[str] | None = None,
    scales: Mapping[str, Scale] = NO_SCALES,
    votes: bool = False,
) -> Manifest:
    """Read a manifest and check every rule that needs no decoding of media.

    Args:
        path: a .csv or .parquet file.
        classes: the study's classes, in order.
        purpose: what the run is for; consent must cover it.
        today: decides whether consent_until has passed.
        modalities: which columns are used; None takes all.
        labels: whether every row needs a label.
        scopes: words of consent_scope that cover the purpose; None: its own name.
        scales: the study's dimensions and labels; their columns must be there.
        votes: whether every row with a class needs label_dist.

    Raises:
        DataError: with all problems, each with file and line; the first 20 are shown.
    """
    manifest, problems = survey_manifest(
        path, classes, purpose, today,
        modalities=modalities, labels=labels, scopes=scopes, scales=scales, votes=votes,
    )  # fmt: skip
    refuse([place_of(manifest, line) + problem for line, problem in problems])
    if not manifest.rows:
        said = _said(manifest.left_out) or "the table has no rows"
        raise DataError(f"{path}: no row is left; {said}")
    return manifest


def place_of(manifest: Manifest, line: int) -> str:
    """Return "file:line: ", or "file: " where the whole table is meant (line 0)."""
    return f"{manifest.where(line)}: " if line else f"{manifest.path}: "


def survey_manifest(
    path: Path,
    classes: Sequence[str],
    purpose: str,
    today: date,
    *,
    modalities: Iterable[str] | None = None,
    labels: bool = True,
    scopes: Sequence[str] | None = None,
    scales: Mapping[str, Scale] = NO_SCALES,
    votes: bool = False,
) -> tuple[Manifest, list[tuple[int, str]]]:
    """Read a manifest like `read_manifest`, but return its problems (line, text) instead.

    Rows with a problem are among the rows, with what in them could be read.

    Raises:
        DataError: when the table itself cannot be read, or lacks columns.
    """
    table = read_table(path)
    wanted = _modalities(path, table.columns, modalities)
    asked = Asked(classes, scales, is_required=labels, votes=votes)
    missing = [*_missing(table, wanted, labels, bool(scales))]
    missing += missing_targets(table.columns, asked) if labels and (scales or votes) else ()
    if missing:
        missing.append(
            f"its columns are {', '.join(table.columns)}; `tacit data import csv {path} OUT "
            "-o person_id=COLUMN` gives others these names"
        )
    refuse([f"{path}: {problem}" for problem in missing])
    rows: list[Row] = []
    left_out: dict[str, int] = {}
    problems: list[tuple[int, str]] = []
    for raw in table.rows:
        found: list[str] = []
        gap = consent_gap(raw.cells, purpose, today, found.append, scopes)
        if gap:
            left_out[gap] = left_out.get(gap, 0) + 1
        else:
            rows.append(_row(path.parent, raw, wanted, asked, found.append))
        problems += [(raw.line, problem) for problem in found]
    problems += _across(table.unit, rows)
    if labels and scales and rows and not any(any(r.label_C) or any_known(r.places) for r in rows):
        problems.append((0, "no row has any of the study's targets"))
    return Manifest(path, table.unit, wanted, tuple(rows), left_out), problems


def _said(left_out: dict[str, int]) -> str:
    return ", ".join(f"{count} left out: {reason}" for reason, count in sorted(left_out.items()))


def _modalities(
    path: Path, columns: Sequence[str], wanted: Iterable[str] | None
) -> tuple[str, ...]:
    found = sorted(c for c in columns if c in KINDS or c.startswith("features_"))
    if wanted is None:
        return tuple(found)
    used = sorted(set(found) & set(wanted))
    if not used:
        raise DataError(
            f"{path}: none of the study's modalities ({', '.join(sorted(wanted))}) is a column; "
            f"modalities in this manifest: {', '.join(found) or 'none'}"
        )
    return tuple(used)


def _missing(
    table: Table, modalities: Sequence[str], labels: bool, has_scales: bool
) -> Iterable[str]:
    for name in REQUIRED:
        if name not in table.columns:
            yield f"column {name!r} is missing"
    if not modalities:
        yield f"expected at least one modality column: {', '.join(KINDS)} or features_NAME"
    label_columns = ("label", "label_dist", *DIMENSIONS)
    if labels and not (has_scales or set(label_columns) & set(table.columns)):
        yield f"expected at least one label column: {', '.join(label_columns)}"


def _row(
    folder: Path,
    raw: TableRow,
    modalities: Sequence[str],
    asked: Asked,
    report: Callable[[str], None],
) -> Row:
    if raw.problem:
        report(raw.problem)
    if not any(raw.cells.values()):
        report("the row is empty")
    for name in REQUIRED:
        if not raw.cells[name]:
            report(f"{name} is empty")
    start_s, end_s = cells.window(raw.cells, report)
    for name in DIMENSIONS:
        cells.number(name, raw.cells.get(name, ""), report)
    label_C, places = read_targets(raw.cells, asked, report)
    return Row(
        line=raw.line,
        sample_id=str(raw.cells["sample_id"]),
        person_id=str(raw.cells["person_id"]),
        session_id=str(raw.cells.get("session_id", "")),
        start_s=start_s,
        end_s=end_s,
        split=cells.choice("split", raw.cells.get("split", ""), SPLITS, report),
        label_C=label_C,
        places=places,
        sources=_sources(folder, raw.cells, modalities, report),
        groups={k: str(v) for k, v in raw.cells.items() if k.startswith("group_")},
    )


def _sources(
    folder: Path,
    row: dict[str, Cell],
    modalities: Sequence[str],
    report: Callable[[str], None],
) -> dict[str, Source]:
    sources: dict[str, Source] = {}
    for name in modalities:
        cell = row[name]
        if not cell:
            continue
        if isinstance(cell, tuple) or cells.is_inline(kind_of(name), cell):
            sources[name] = cell
            continue
        try:
            sources[name] = inside(folder, cell)
        except DataError as error:
            report(f"{name}: {error}: {cell[:200]!r}")
    return sources


def _across(unit: str, rows: Sequence[Row]) -> list[tuple[int, str]]:
    problems: list[tuple[int, str]] = []
    samples: dict[str, int] = {}
    splits: dict[str, Row] = {}
    for row in rows:
        first = samples.setdefault(row.sample_id, row.line)
        if first != row.line and row.sample_id:
            problems.append((row.line, f"sample_id stands twice; the first is {unit} {first}"))
        other = splits.setdefault(row.person_id, row)
        if other.split != row.split and row.person_id:
            here, there = row.split or "none", other.split or "none"
            said = f"{here!r} here, {there!r} in {unit} {other.line}; a random split flatters"
            problems.append((row.line, f"a person in two splits: {said}"))
    return problems
