"""Feature vectors: .npy, .npz, .csv, .parquet, a JSON list or numbers in the manifest."""

import csv
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from client.data.readers.arrays import read_npy, read_npz
from client.data.readers.files import check_size
from common.errors import DataError

MAX_VECTOR_BYTES = 1 << 26
Matrix = npt.NDArray[np.float64]


def read_vectors(source: Path | str | tuple[float, ...]) -> Matrix:
    """Return features as rows (one row for a vector, one per frame for a sequence).

    Raises:
        DataError: when the source is no array of numbers with one or two axes.
    """
    if isinstance(source, tuple):
        values: object = source
    elif isinstance(source, str):
        values = _from_json(source)
    else:
        values = _from_file(source)
    try:
        rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        raise DataError("expected numbers only") from None
    if rows.ndim != 2 or rows.size == 0:
        raise DataError(f"expected one or two axes with values, found shape {rows.shape}")
    return rows


def _from_json(text: str) -> object:
    try:
        return [np.nan if item is None else item for item in json.loads(text)]
    except (ValueError, RecursionError):
        raise DataError(f"expected a JSON list of numbers, found {text[:40]!r}") from None


def _from_file(path: Path) -> object:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_npy(path, MAX_VECTOR_BYTES)
    if suffix == ".npz":
        return _only(path, read_npz(path, MAX_VECTOR_BYTES))
    if suffix == ".csv":
        return _from_csv(path)
    if suffix == ".parquet":
        return _from_parquet(path)
    raise DataError(f"{path.name}: expected features in .npy, .npz, .csv or .parquet")


def _only(path: Path, arrays: dict[str, npt.NDArray[np.generic]]) -> object:
    if len(arrays) != 1:
        raise DataError(f"{path.name}: expected one array, found {len(arrays)}")
    return next(iter(arrays.values()))


def _from_csv(path: Path) -> object:
    check_size(path, MAX_VECTOR_BYTES)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except (UnicodeDecodeError, csv.Error, OSError):
        raise DataError(f"{path.name}: not well-formed CSV") from None
    body = rows[1:] if rows and not all(map(_is_number, rows[0])) else rows
    if len({len(row) for row in body}) != 1:
        raise DataError(f"{path.name}: expected rows of one length")
    return [[float(cell) if _is_number(cell) and cell else np.nan for cell in row] for row in body]


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def _from_parquet(path: Path) -> object:
    check_size(path, MAX_VECTOR_BYTES)
    try:
        file = pq.ParquetFile(path)
        groups = range(file.metadata.num_row_groups)
        if sum(file.metadata.row_group(i).total_byte_size for i in groups) > MAX_VECTOR_BYTES:
            raise DataError(f"{path.name}: larger than {MAX_VECTOR_BYTES / 1e6:,.0f} MB unpacked")
        columns = [column.to_numpy() for column in file.read().columns]
    except (pa.ArrowException, OSError, ValueError):
        raise DataError(f"{path.name}: not a readable Parquet file") from None
    return np.stack(columns, axis=1) if columns else []
