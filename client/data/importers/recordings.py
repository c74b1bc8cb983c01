"""Signals that run on, as they become clips: what stands in labels, or windows of a minute.

Corpora of signals have no common way of saying what was felt when. So a recording's own marks
are used where its format has them; else `labels.csv` beside the recordings, with the columns
person_id, session_id (may be empty), start_s, end_s and any of label, label_dist, valence, arousal,
dominance, split and rated_NAME (a study's own dimensions and labels); without either, clips have
no label, which is enough for prediction.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from client.data.importers.sources import number_at, read_records
from client.data.importers.writing import Clip
from common.errors import ConfigError, DataError

WINDOW_S = 60.0
SHORTEST_S = 5.0
LABELS = "labels.csv"
SAID = ("label", "label_dist", "valence", "arousal", "dominance", "split")
Part = tuple[float, npt.NDArray[Any], float]


@dataclass(frozen=True)
class Interval:
    """From when to when something holds in a recording, in seconds, and what: manifest cells."""

    start_s: float
    end_s: float
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Recording:
    """One recording of one person, and where its signals are.

    Args:
        person: who; the unit of privacy.
        session: which of the person's recordings; may be empty.
        media: modality -> the manifest's cell.
        length_s: how long it lasts.
        groups: group_* cells.
        intervals: what its own marks say; None where it has none.
    """

    person: str
    session: str
    media: Mapping[str, str]
    length_s: float
    groups: Mapping[str, str] = field(default_factory=dict)
    intervals: Sequence[Interval] | None = None


Labels = Mapping[tuple[str, str], Sequence[Interval]]


def read_labels(source: Path) -> Labels:
    """Return (person, session) -> intervals of labels.csv, or nothing where there is none.

    Raises:
        DataError: when it is not as described above.
    """
    path = source / LABELS
    found: dict[tuple[str, str], list[Interval]] = {}
    rows = read_records(path, ("person_id", "start_s", "end_s")) if path.exists() else iter(())
    for line, row in enumerate(rows, start=2):
        start_s, end_s = (number_at(path, line, row[name]) for name in ("start_s", "end_s"))
        if not 0 <= start_s < end_s:
            raise DataError(f"{path}:{line}: expected 0 <= start_s < end_s")
        said = (*SAID, *(name for name in row if name.startswith("rated_")))
        cells = {name: row[name] for name in said if name in row}
        key = (row["person_id"], row.get("session_id", ""))
        found.setdefault(key, []).append(Interval(start_s, end_s, cells))
    return found


def clips_of(recording: Recording, labels: Labels, window_s: float = WINDOW_S) -> Iterator[Clip]:
    """Yield a recording's clips: its labelled intervals, each cut into windows."""
    person, session = recording.person, recording.session
    given = labels.get((person, session), labels.get((person, "")))
    intervals = recording.intervals if given is None else given
    if intervals is None:
        intervals = () if labels else (Interval(0.0, recording.length_s, {"label": ""}),)
    for interval in intervals:
        for start_s, end_s in windows(interval, recording.length_s, window_s):
            cells = {
                "sample_id": "_".join(p for p in (person, session, f"{start_s:09.2f}") if p),
                "person_id": person,
                "session_id": session,
                **recording.media,
                "start_s": f"{start_s:g}",
                "end_s": f"{end_s:g}",
                **interval.cells,
                **recording.groups,
            }
            yield Clip(person, cells)


def windows(interval: Interval, length_s: float, window_s: float) -> Iterator[tuple[float, float]]:
    """Yield start and end of an interval's windows; a rest below half of one is left out."""
    end_s = min(interval.end_s, length_s)
    start_s = interval.start_s
    if SHORTEST_S <= end_s - start_s < window_s:
        yield start_s, end_s
    while end_s - start_s >= window_s:
        yield start_s, start_s + window_s
        start_s += window_s
        if window_s / 2 <= end_s - start_s < window_s:
            yield start_s, end_s


def window_from(text: str) -> float:
    """Return an option that is a window in seconds.

    Raises:
        ConfigError: when it is not from 5 to 3600.
    """
    try:
        window_s = float(text)
    except ValueError:
        window_s = 0.0
    if not SHORTEST_S <= window_s <= 3600:
        raise ConfigError(f"--option window_s: expected {SHORTEST_S:g} to 3600, found {text!r}")
    return window_s


def on_one_clock(parts: Mapping[str, Sequence[Part]]) -> dict[str, npt.NDArray[np.float32]]:
    """Bring signals that start at different times to one start, unknown where nothing was recorded.

    Args:
        parts: name -> its parts (start in seconds on any common clock, values, rate in Hz), all
            of one rate.

    Returns: NAME@RATE -> values from the earliest start on.

    Raises:
        DataError: when parts lie so far apart that the gap is longer than what was recorded.
    """
    first = min(start for some in parts.values() for start, _, _ in some)
    return {
        f"{name}@{some[0][2]:g}": _joined(name, some, first) for name, some in parts.items() if some
    }


def _joined(name: str, parts: Sequence[Part], first: float) -> npt.NDArray[np.float32]:
    rate_hz = parts[0][2]
    places = [round((start - first) * rate_hz) for start, _, _ in parts]
    known = sum(len(values) for _, values, _ in parts)
    length = max(place + len(values) for place, (_, values, _) in zip(places, parts, strict=True))
    if length > 2 * known + 3600 * rate_hz:
        raise DataError(f"signal {name!r} has gaps longer than what was recorded")
    whole = np.full((length, *parts[0][1].shape[1:]), np.nan, dtype=np.float32)
    for place, (_, values, _) in zip(places, parts, strict=True):
        whole[place : place + len(values)] = values
    return whole


def length_of(arrays: Mapping[str, npt.NDArray[Any]]) -> float:
    """Return how long signals named NAME@RATE last, in seconds."""
    return max(len(v) / float(name.partition("@")[2]) for name, v in arrays.items())
