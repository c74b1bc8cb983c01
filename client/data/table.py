"""A manifest's rows as they stand in the file: CSV or Parquet, with a line for every row."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from client.data.readers.files import check_size
from common.errors import DataError

MAX_TABLE_BYTES = 1 << 28
MAX_ROWS = 2_000_000
MAX_CELL_CHARS = 1 << 22

Cell = str | tuple[float, ...]


@dataclass(frozen=True)
class TableRow:
    """One row: where it stands (line in a CSV, row in a Parquet file), its cells, its flaw."""

    line: int
    cells: dict[str, Cell]
    problem: str = ""


@dataclass(frozen=True)
class Table:
    """A manifest before any rule is applied: absent cells are empty strings."""

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    unit: str


def read_table(path: Path) -> Table:
    """Read a CSV or Parquet table whole, within fixed bounds.

    Raises:
        DataError: when the file is missing, too large, or neither CSV nor Parquet.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file; expected a manifest ending in .csv or .parquet")
    if path.is_dir():
        raise DataError(f"{path}: a folder; expected a manifest, such as {path / 'manifest.csv'}")
    check_size(path, MAX_TABLE_BYTES)
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    if path.suffix.lower() in {".csv", ".tsv"}:
        return _read_csv(path)
    raise DataError(f"{path}: expected a manifest ending in .csv or .parquet")


def _read_csv(path: Path) -> Table:
    csv.field_size_limit(MAX_CELL_CHARS)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            columns = _columns(path, [name.strip() for name in next(reader, [])])
            return Table(columns, tuple(_csv_rows(path, reader, columns)), "line")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text at byte {error.start}; save it as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not well-formed CSV: {error}") from None


def _csv_rows(path: Path, reader: Any, columns: tuple[str, ...]) -> Iterator[TableRow]:
    first_line = reader.line_num + 1
    for values in reader:
        if values:
            cells: dict[str, Cell] = dict.fromkeys(columns, "")
            cells.update(zip(columns, (value.strip() for value in values), strict=False))
            yield TableRow(first_line, cells, _ragged(len(values), len(columns)))
        first_line = reader.line_num + 1


def _ragged(found: int, expected: int) -> str:
    if found <= expected:
        return ""
    return f"{found} cells, but the header names {expected}; quote cells that hold a comma"


def _read_parquet(path: Path) -> Table:
    try:
        file = pq.ParquetFile(path)
        _check_parquet(path, file.metadata)
        columns = _columns(path, list(file.schema_arrow.names))
        rows = tuple(_parquet_rows(file, columns))
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a readable Parquet file: {reason}") from None
    return Table(columns, rows, "row")


def _check_parquet(path: Path, metadata: Any) -> None:
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if metadata.num_rows > MAX_ROWS or size > MAX_TABLE_BYTES:
        raise DataError(
            f"{path}: {metadata.num_rows} rows and {size} bytes when unpacked; "
            f"at most {MAX_ROWS} rows and {MAX_TABLE_BYTES} bytes are read"
        )


def _parquet_rows(file: Any, columns: tuple[str, ...]) -> Iterator[TableRow]:
    line = 0
    for batch in file.iter_batches(batch_size=1024):
        for record in batch.to_pylist():
            line += 1
            yield TableRow(line, {name: _cell(record[name]) for name in columns})


def _cell(value: Any) -> Cell:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list):
        return tuple(_number(item) for item in value)
    return str(value).strip()


def _number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return math.nan


def _columns(path: Path, names: list[str]) -> tuple[str, ...]:
    if len(names) == 1 and (parting := next((c for c in ";\t|" if c in names[0]), "")):
        raise DataError(
            f"{path}: cells seem to be parted by {parting!r}; expected commas (or a .tsv file with "
            "tabs): save it as CSV with commas"
        )
    if not names:
        raise DataError(f"{path}: the file is empty; expected a header with sample_id, person_id …")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(f"{path}: column {doubled[0]!r} stands twice in the header")
    return tuple(names)
