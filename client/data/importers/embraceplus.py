"""Empatica EmbracePlus: a quarter of an hour of raw signals in each Avro file.

Files are named PARTICIPANT_TIME.avro and may lie in any folders (by date, by participant). A
participant's files of one day are put on one clock; what is missing between them is unknown.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from client.data.importers.recordings import (
    Part,
    Recording,
    clips_of,
    length_of,
    on_one_clock,
    read_labels,
    window_from,
)
from client.data.importers.sources import files_below
from client.data.importers.writing import Clip, Corpus, Lazy, read_sites
from client.data.readers.avro import read_avro
from common.errors import DataError

NAME = re.compile(r"(.+)_(\d{9,11})")
SIGNALS = {"eda": "eda", "bvp": "bvp", "temperature": "temp"}
HIGHEST_RATE_HZ = 1000.0


def read_embraceplus(source: Path, window_s: str = "60") -> Corpus:
    """Read every PARTICIPANT_TIME.avro below a folder, labels.csv and sites.json.

    Sessions are days (UTC); labels.csv counts its seconds from a day's first sample.

    Args:
        source: the folder, as it is downloaded from the cloud.
        window_s: length of a clip in seconds.

    Raises:
        DataError: when there is no recording, or one is damaged.
    """
    days: dict[tuple[str, str], list[Path]] = {}
    for path in files_below(source, "**/*.avro"):
        match = NAME.fullmatch(path.stem)
        if match:
            day = f"{datetime.fromtimestamp(int(match.group(2)), UTC):%Y-%m-%d}"
            days.setdefault((match.group(1), day), []).append(path)
    if not days:
        raise DataError(f"{source}: no file named like PARTICIPANT_1700000000.avro")
    labels, cut_s = read_labels(source), window_from(window_s)
    clips: list[Clip] = []
    arrays: dict[str, Any] = {}
    for (person, day), files in days.items():
        relative = f"signals/{person}_{day}.npz"
        recording = Recording(
            person, day, {"physio": relative}, length_of(on_one_clock(_parts(files)))
        )
        clips += clips_of(recording, labels, cut_s)
        arrays[relative] = lambda files=files: on_one_clock(_parts(files))
    return Corpus(clips, read_sites(source), arrays=Lazy(arrays))


def _parts(files: Sequence[Path]) -> dict[str, list[Part]]:
    found: dict[str, list[Part]] = {}
    for path in sorted(files, key=lambda p: int(p.stem.rpartition("_")[2])):
        for record in read_avro(path):
            for name, part in _signals(path, record):
                if name in found and found[name][0][2] != part[2]:
                    raise DataError(
                        f"{path}: {name} at {part[2]:g} Hz, before {found[name][0][2]:g}"
                    )
                found.setdefault(name, []).append(part)
    if not found:
        raise DataError(f"{files[0]}: holds no signal")
    return found


def _signals(path: Path, record: Mapping[str, Any]) -> Iterator[tuple[str, Part]]:
    raw = record.get("rawData")
    if not isinstance(raw, dict):
        raise DataError(f"{path}: expected rawData")
    for key, name in SIGNALS.items():
        values = _values(path, raw.get(key), "values")
        if values is not None:
            yield name, (*_clock(path, raw[key], values),)
    axes = [_values(path, raw.get("accelerometer"), axis) for axis in "xyz"]
    if all(axis is not None for axis in axes):
        if len({len(axis) for axis in axes if axis is not None}) != 1:
            raise DataError(f"{path}: accelerometer: axes of different length")
        counts = np.column_stack([axis for axis in axes if axis is not None])
        values = counts * _unit(path, raw["accelerometer"])
        yield "acc", (*_clock(path, raw["accelerometer"], values),)


def _values(path: Path, signal: object, key: str) -> npt.NDArray[np.float64] | None:
    found = signal.get(key) if isinstance(signal, dict) else None
    if not found:
        return None
    try:
        return np.asarray(found, dtype=np.float64).reshape(len(found))
    except (TypeError, ValueError):
        raise DataError(f"{path}: {key}: expected numbers") from None


def _clock(path: Path, signal: Mapping[str, Any], values: npt.NDArray[np.float64]) -> Part:
    """Return start in seconds (microseconds in the file), values and rate."""
    start_us, rate_hz = signal.get("timestampStart"), signal.get("samplingFrequency")
    if not isinstance(start_us, int) or not isinstance(rate_hz, int | float):
        raise DataError(f"{path}: expected timestampStart and samplingFrequency")
    if not (start_us > 0 and 0 < rate_hz <= HIGHEST_RATE_HZ):
        raise DataError(f"{path}: a rate of {rate_hz:g} Hz from {start_us}")
    return start_us / 1e6, values, round(float(rate_hz), 3)


def _unit(path: Path, signal: Mapping[str, Any]) -> float:
    """Return g for each step of the accelerometer."""
    said = signal.get("imuParams") or {}
    keys = ("physicalMin", "physicalMax", "digitalMin", "digitalMax")
    try:
        low, high, first, last = (float(said[key]) for key in keys)
        unit = (high - low) / (last - first)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        raise DataError(f"{path}: accelerometer: expected imuParams") from None
    if not 0 < unit < 1e3:
        raise DataError(f"{path}: accelerometer: imuParams do not fit")
    return unit
