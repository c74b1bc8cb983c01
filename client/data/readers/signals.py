"""Wearable and clinical signals: CSV, Parquet, .npz or EDF, each signal with its own rate.

A column is named NAME or NAME@RATE (rate in Hz). Without a rate, a `time_s` column gives
it; without that, the rates of an Empatica E4 hold. Axes are NAME_x, NAME_y, NAME_z in a
table, or a second axis of an array.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from client.data.readers.arrays import read_npz
from client.data.readers.edf import EDF_SUFFIXES, MAX_EDF_BYTES, read_edf
from client.data.readers.files import check_size
from common.errors import DataError

MAX_SIGNAL_BYTES = 1 << 29
EMPATICA_HZ = {"bvp": 64.0, "eda": 4.0, "temp": 4.0, "acc": 32.0, "hr": 1.0, "resp": 1.0}
SAME_SIGNAL = {"ppg": "bvp", "gsr": "eda", "skt": "temp", "rsp": "resp", "ekg": "ecg"}
AXES = ("x", "y", "z")
TIME = "time_s"
HIGHEST_RATE_HZ = 20_000.0
GAP_STEPS = 3
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Signal:
    """One signal from the start of its file: values (T,) or (T, axes), NaN where unknown."""

    values: Array
    rate_hz: float

    def window(self, start_s: float, end_s: float | None) -> Array:
        """Return the values inside a window in seconds; fewer where the signal ends."""
        last = None if end_s is None else round(end_s * self.rate_hz)
        return self.values[round(start_s * self.rate_hz) : last]


def signal_files(source: object) -> Sequence[Path]:
    """Return the file that a physio cell names.

    Raises:
        DataError: when it is no regular file of a size that is read.
    """
    path = Path(str(source))
    check_size(path, MAX_EDF_BYTES if path.suffix.lower() in EDF_SUFFIXES else MAX_SIGNAL_BYTES)
    return (path,)


def read_signals(path: Path) -> dict[str, Signal]:
    """Return every signal of a file by its name in lower case.

    Raises:
        DataError: when the file is damaged or too large, holds text, or a rate is not known.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        columns: Mapping[str, Any] = read_npz(path, MAX_SIGNAL_BYTES)
    elif suffix in {".csv", ".parquet"}:
        columns = _table(path)
    elif suffix in EDF_SUFFIXES:
        columns = read_edf(path)
    else:
        raise DataError(f"{path.name}: expected signals in .csv, .parquet, .npz or .edf")
    parts: dict[str, Signal] = {}
    clock = _clock(path, columns)
    for name, values in columns.items():
        if name.lower() != TIME:
            key, rate_hz = _name_and_rate(path, name, clock)
            if rate_hz and key in parts:
                raise DataError(f"{path.name}: signal {key!r} stands twice")
            if rate_hz:
                parts[key] = Signal(_uniform(path, name, values, clock), rate_hz)
    if not parts:
        raise DataError(f"{path.name}: no signal of a known rate; name columns NAME@RATE")
    return _with_axes(parts)


def clock_gaps(path: Path) -> tuple[tuple[float, float], ...]:
    """Return where the clock of a table jumps by more than three steps, in seconds of the clip.

    Raises:
        DataError: when the table cannot be read.
    """
    if path.suffix.lower() not in {".csv", ".parquet"}:
        return ()
    clock = _clock(path, _table(path))
    if clock is None:
        return ()
    step, since = np.diff(clock), clock - clock[0]
    jumps = np.flatnonzero(step > GAP_STEPS * np.median(step))
    return tuple((float(since[k]), float(since[k + 1])) for k in jumps)


def _table(path: Path) -> Mapping[str, Any]:
    check_size(path, MAX_SIGNAL_BYTES)
    try:
        if path.suffix.lower() == ".csv":
            table = pd.read_csv(path, encoding="utf-8-sig", index_col=False)
        else:
            metadata = pq.read_metadata(path)
            groups = range(metadata.num_row_groups)
            if sum(metadata.row_group(i).total_byte_size for i in groups) > MAX_SIGNAL_BYTES:
                raise DataError(f"{path.name}: too large when unpacked")
            table = pq.read_table(path).to_pandas()
    except (pa.ArrowException, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path.name}: not a readable table: {str(error)[:120]}") from None
    except (OSError, ValueError, MemoryError) as error:
        raise DataError(f"{path.name}: not a readable table: {str(error)[:120]}") from None
    return {str(name).strip(): table[name].to_numpy() for name in table.columns}


def _clock(path: Path, columns: Mapping[str, Any]) -> Array | None:
    for name, values in columns.items():
        if name.lower() == TIME:
            time = _numbers(path, name, values)
            if time.ndim != 1 or len(time) < 2 or not (np.diff(time) > 0).all():
                raise DataError(f"{path.name}: {TIME}: expected seconds that only rise")
            return time
    return None


def _name_and_rate(path: Path, name: str, clock: Array | None) -> tuple[str, float | None]:
    key, given, rate = name.strip().lower().partition("@")
    base = key.split("_")[0] if key[-2:] in {"_x", "_y", "_z"} else key
    same = SAME_SIGNAL.get(base, base) + key[len(base) :]
    if given:
        try:
            rate_hz = float(rate)
        except ValueError:
            rate_hz = 0.0
        if not 0 < rate_hz <= HIGHEST_RATE_HZ:
            raise DataError(f"{path.name}: column {name[:40]!r}: expected a rate in Hz after @")
        return same, rate_hz
    if clock is not None:
        return same, float(1 / np.median(np.diff(clock)))
    return same, EMPATICA_HZ.get(SAME_SIGNAL.get(base, base))


def _uniform(path: Path, name: str, values: Any, clock: Array | None) -> Array:
    numbers = _numbers(path, name, values)
    if clock is None or "@" in name:
        return _without_tail(numbers)
    if len(numbers) != len(clock):
        raise DataError(f"{path.name}: column {name[:40]!r} and {TIME} differ in length")
    step = float(np.median(np.diff(clock)))
    count = (clock[-1] - clock[0]) / step + 1
    if count > 4 * len(clock) + 1000:
        raise DataError(f"{path.name}: {TIME} has gaps longer than the recording; split the file")
    grid = clock[0] + step * np.arange(int(count))
    columns = numbers.reshape(len(numbers), -1).T
    even = np.column_stack([_on_grid(grid, clock, column, step) for column in columns])
    return even.reshape(len(grid), *numbers.shape[1:])


def _on_grid(grid: Array, clock: Array, values: Array, step: float) -> Array:
    """Interpolate onto an even grid; a gap of more than three steps stays unknown."""
    even = np.interp(grid, clock, values)
    after = np.clip(np.searchsorted(clock, grid), 1, len(clock) - 1)
    return np.where(clock[after] - clock[after - 1] > GAP_STEPS * step, np.nan, even)


def _without_tail(values: Array) -> Array:
    known = np.isfinite(values.reshape(len(values), -1)).any(axis=1) if values.size else values
    return values[: int(np.flatnonzero(known)[-1]) + 1] if known.any() else values[:0]


def _numbers(path: Path, name: str, values: Any) -> Array:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.ndim not in {1, 2}:
        raise DataError(f"{path.name}: column {name[:40]!r}: expected numbers only")
    return array.astype(np.float64)


def _with_axes(parts: dict[str, Signal]) -> dict[str, Signal]:
    whole = {name: signal for name, signal in parts.items() if name[-2:] not in {"_x", "_y", "_z"}}
    for base in {name[:-2] for name in parts if name not in whole}:
        axes = [parts[f"{base}_{axis}"] for axis in AXES if f"{base}_{axis}" in parts]
        length = min(len(axis.values) for axis in axes)
        stacked = np.column_stack([axis.values[:length] for axis in axes])
        whole.setdefault(base, Signal(stacked, axes[0].rate_hz))
    return whole
