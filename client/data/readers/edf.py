"""EDF, EDF+ and BDF through pyedflib: signals at their own rates, and annotations.

A file's size is held against what its header announces before anything is read, so that neither
a truncated file nor a sparse one is taken for a recording. Channels are read one at a time.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyedflib

from client.data.readers.files import check_size
from common.errors import DataError

MAX_EDF_BYTES = 1 << 30
EDF_SUFFIXES = frozenset({".edf", ".bdf"})
MOST_CHANNELS = 256
MICROSIEMENS = {"us": 1.0, "µs": 1.0, "usiemens": 1.0, "ms": 1e3, "ns": 1e-3, "s": 1e6}
ALIASES = {
    "electrodermal_activity": "eda",
    "galvanic_skin_response": "gsr",
    "skin_temperature": "temp",
    "temperature": "temp",
    "pleth": "ppg",
    "respiration": "resp",
    "heart_rate": "hr",
}


@dataclass(frozen=True)
class Annotation:
    """What an EDF+ file says of a time: start and length in seconds, and the words."""

    start_s: float
    length_s: float
    text: str


@dataclass(frozen=True)
class EdfHeader:
    """What is known without reading a signal."""

    patient: str
    length_s: float
    annotations: tuple[Annotation, ...]


def read_edf_header(path: Path) -> EdfHeader:
    """Return the patient's code, the length and the annotations.

    Raises:
        DataError: when it is no EDF or BDF file, or is truncated.
    """
    with _open(path) as reader:
        starts, lengths, texts = reader.readAnnotations()
        marks = zip(starts, lengths, texts, strict=True)
        return EdfHeader(
            patient=str(reader.getPatientCode()).strip(),
            length_s=float(reader.getFileDuration()),
            annotations=tuple(Annotation(float(s), float(d), str(t).strip()) for s, d, t in marks),
        )


def read_edf(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    """Return every channel as NAME@RATE, in its physical unit; conductance in µS.

    Raises:
        DataError: when it is no EDF or BDF file, is truncated, or a channel stands twice.
    """
    found: dict[str, npt.NDArray[np.float64]] = {}
    with _open(path) as reader:
        for index in range(reader.signals_in_file):
            name = channel_name(reader.getLabel(index))
            rate_hz = float(reader.getSampleFrequency(index))
            if rate_hz <= 0 or any(other.partition("@")[0] == name for other in found):
                raise DataError(f"{path.name}: channel {name!r} stands twice, or has no rate")
            values = np.asarray(reader.readSignal(index), dtype=np.float64)
            unit = str(reader.getPhysicalDimension(index)).strip().lower()
            scale = MICROSIEMENS.get(unit, 1.0) if name in ("eda", "gsr") else 1.0
            found[f"{name}@{rate_hz:g}"] = values * scale
    if not found:
        raise DataError(f"{path.name}: the file holds no signal")
    return found


def channel_name(label: str) -> str:
    """Return a channel's label in lower case, words joined by "_"; common names as used here."""
    name = re.sub(r"\W+", "_", label.strip().lower()).strip("_") or "channel"
    return ALIASES.get(name, name)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    check_size(path, MAX_EDF_BYTES)
    _check_header(path)
    try:
        with pyedflib.EdfReader(str(path)) as reader:
            yield reader
    except (OSError, ValueError, RuntimeError, MemoryError, IndexError) as error:
        reason = str(error).replace(str(path), path.name)[:120]
        raise DataError(f"{path.name}: not a readable EDF file: {reason}") from None


def _check_header(path: Path) -> None:
    """Hold the file's size against what its header announces."""
    with path.open("rb") as file:
        head = file.read(256)
        width = 3 if head[:1] == b"\xff" else 2
        header_bytes, records, channels = (
            _whole(head[a:b]) for a, b in ((184, 192), (236, 244), (252, 256))
        )
        if not (0 < channels <= MOST_CHANNELS and header_bytes == 256 * (channels + 1)):
            raise DataError(f"{path.name}: not an EDF file: its header does not fit")
        file.seek(256 + 216 * channels)
        per_record = [_whole(file.read(8)) for _ in range(channels)]
    announced = header_bytes + records * width * sum(per_record)
    found = path.stat().st_size
    if records < 1 or min(per_record) < 1 or announced != found:
        raise DataError(
            f"{path.name}: truncated or damaged: {announced} bytes announced, {found} found"
        )


def _whole(text: bytes) -> int:
    try:
        return int(text.decode("ascii"))
    except ValueError:
        return -1
