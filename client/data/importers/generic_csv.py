"""Any table of clips: which of its columns is which of a manifest's.

Options are KEY=COLUMN, such as person_id=subject or audio=path. Features may be made of several
columns: features_voice=f0,energy,jitter. A study's own dimensions and labels
are rated_NAME=COLUMN.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from client.data.cells import is_inline
from client.data.importers.writing import Clip, Corpus, numbers, read_sites
from client.data.manifest import DIMENSIONS
from client.data.readers.files import inside
from client.data.table import Table, TableRow, read_table
from common.errors import ConfigError, DataError
from common.inputs import KINDS

COLUMNS = (
    *("sample_id", "person_id", "session_id", "start_s", "end_s", "label", "label_dist", "split"),
    *(*DIMENSIONS, *KINDS, "consent_scope", "consent_until", "withdrawn"),
)


def read_generic_csv(source: Path, **columns: str) -> Corpus:
    """Read a table (.csv, .tsv or .parquet) beside its recordings.

    Args:
        source: the table, or a folder that holds only one.
        columns: a manifest's column -> the table's; person_id is required. Without sample_id,
            rows are numbered.

    Raises:
        ConfigError: when a key is no column of a manifest, or person_id is not given.
        DataError: when a column is missing, or rows name files that are not there.
    """
    _check_keys(columns)
    path = _table_of(source)
    table = read_table(path)
    wanted = {key: [name.strip() for name in text.split(",")] for key, text in columns.items()}
    _check_columns(path, table, wanted)
    problems: list[str] = []
    media: dict[str, Path] = {}
    clips = [_clip(path, row, wanted, media, problems) for row in table.rows]
    if problems:
        raise DataError("\n".join(problems[:20]))
    return Corpus(clips, read_sites(path.parent), media)


def _check_keys(columns: Mapping[str, str]) -> None:
    for key in columns:
        if key not in COLUMNS and not key.startswith(("features_", "group_", "rated_")):
            raise ConfigError(
                f"--option {key}: no column of a manifest; known: {', '.join(COLUMNS)}, "
                "features_NAME, group_NAME, rated_NAME"
            )
    if "person_id" not in columns:
        raise ConfigError("--option person_id=COLUMN is needed: the person is the unit of privacy")


def _table_of(source: Path) -> Path:
    if not source.is_dir():
        return source
    tables = [path for end in ("csv", "tsv", "parquet") for path in source.glob(f"*.{end}")]
    if len(tables) != 1:
        raise DataError(f"{source}: expected one table, found {len(tables)}; name the file itself")
    return tables[0]


def _check_columns(path: Path, table: Table, wanted: Mapping[str, list[str]]) -> None:
    missing = [name for names in wanted.values() for name in names if name not in table.columns]
    if missing:
        raise DataError(
            f"{path}: columns are missing: {', '.join(missing)}; "
            f"there are {', '.join(table.columns)}"
        )


def _clip(
    path: Path,
    row: TableRow,
    wanted: Mapping[str, list[str]],
    media: dict[str, Path],
    problems: list[str],
) -> Clip:
    cells = {"sample_id": f"row{row.line:06d}"} | dict(_cells(row, wanted))
    if row.problem:
        problems.append(f"{path}:{row.line}: {row.problem}")
    for key, cell in cells.items():
        kind = "features" if key.startswith("features_") else key
        if kind in KINDS and cell and not is_inline(kind, cell):
            try:
                target = inside(path.parent, cell)
                if not target.is_file():
                    raise DataError("expected a file")
            except DataError as error:
                problems.append(f"{path}:{row.line}: {key}: {error}: {cell[:200]!r}")
            else:
                relative = target.relative_to(path.parent.resolve())
                cells[key] = f"media/{relative.as_posix()}"
                media[cells[key]] = target
    return Clip(cells["person_id"], cells)


def _cells(row: TableRow, wanted: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    for key, names in wanted.items():
        found = [row.cells[name] for name in names]
        if len(found) > 1:
            yield key, numbers([_number(cell) for cell in found])
        else:
            yield key, found[0] if isinstance(found[0], str) else numbers(found[0])


def _number(cell: object) -> float:
    try:
        return float(str(cell)) if cell else float("nan")
    except ValueError:
        return float("nan")
