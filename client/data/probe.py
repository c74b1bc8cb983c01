"""What decoding each recording of a manifest once tells: problems, worries and lengths."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from client.data.manifest import Manifest, Row, Source
from client.data.readers.images import frame_files, read_grey
from client.data.readers.media import decode_frames, length_of
from client.data.readers.signals import Signal, clock_gaps, read_signals
from client.data.readers.sound import Sound, measure_sound
from client.data.readers.text import read_text
from client.data.readers.vectors import read_vectors
from common.errors import DataError
from common.inputs import kind_of

LONG_RUN_S = 5.0
LEAST_HZ = {"bvp": 16.0, "ecg": 50.0, "acc": 4.0, "eda": 1.0}
SAME_LENGTH = 1.5


@dataclass
class Found:
    """What was found so far.

    Args:
        problems: (line, text) of what keeps a recording from being used.
        notes: (line, text) of what should be looked at.
        length_s: of each clip; NaN where nothing has a length.
        rates: (modality or signal, line, rate in Hz) of each clip.
    """

    problems: list[tuple[int, str]] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)
    length_s: list[float] = field(default_factory=list)
    rates: list[tuple[str, int, float]] = field(default_factory=list)


Probe = Callable[[Source, Row, Found], float]


def probe(manifest: Manifest) -> Found:
    """Decode every recording once; one that many rows share is not read anew for each."""
    found = Found()
    for row in manifest.rows:
        length_s = np.nan if row.end_s is None else row.end_s - row.start_s
        for name, source in row.sources.items():
            try:
                this_s = PROBES[kind_of(name)](source, row, found)
            except DataError as error:
                found.problems.append((row.line, f"{name}: {error}"))
            else:
                length_s = this_s if np.isnan(length_s) else length_s
        found.length_s.append(float(length_s))
    for cache in (_signals, _gaps, _sound):
        cache.cache_clear()
    found.notes += _odd_rates(found)
    return found


def _odd_rates(found: Found) -> Iterator[tuple[int, str]]:
    """Yield what was recorded at another rate than most."""
    counts: dict[str, Counter[float]] = {}
    for name, _, rate_hz in found.rates:
        counts.setdefault(name, Counter())[rate_hz] += 1
    usual = {name: count.most_common(1)[0][0] for name, count in counts.items()}
    for name, line, rate_hz in found.rates:
        if rate_hz != usual[name]:
            yield line, f"{name}: recorded at {rate_hz:g} Hz, most others at {usual[name]:g} Hz"


@lru_cache(maxsize=2)
def _sound(path: Path, start_s: float, end_s: float | None) -> Sound:
    return measure_sound(path, start_s, end_s)


def _audio(source: Source, row: Row, found: Found) -> float:
    sound = _sound(Path(str(source)), row.start_s, row.end_s)
    found.rates.append(("audio", row.line, sound.rate_hz))
    if sound.unknown:
        found.notes.append((row.line, f"audio: {sound.unknown} samples are not numbers"))
    if sound.peak == 0:
        found.notes.append((row.line, "audio: silent from beginning to end"))
    return sound.length_s


def _video(source: Source, row: Row, found: Found) -> float:
    path = Path(str(source))
    if path.is_dir():
        for file in frame_files(path):
            read_grey(file, 8)
        return np.nan
    decode_frames(path, (row.start_s, row.end_s), 1, 8)
    return length_of(path) - row.start_s


def _image(source: Source, row: Row, found: Found) -> float:
    read_grey(Path(str(source)), 8)
    return np.nan


def _text(source: Source, row: Row, found: Found) -> float:
    if isinstance(source, Path):
        read_text(source)
    return np.nan


def _features(source: Source, row: Row, found: Found) -> float:
    vectors = read_vectors(source)
    if not np.isfinite(vectors).any():
        found.notes.append((row.line, "features: every value is unknown"))
    return np.nan


@lru_cache(maxsize=1)
def _signals(path: Path) -> Mapping[str, Signal]:
    return read_signals(path)


@lru_cache(maxsize=1)
def _gaps(path: Path) -> tuple[tuple[float, float], ...]:
    return clock_gaps(path)


def _physio(source: Source, row: Row, found: Found) -> float:
    path = Path(str(source))
    signals = _signals(path)
    lasts_s = {n: len(s.values) / s.rate_hz for n, s in signals.items()}
    whole_s = max(lasts_s.values())
    if whole_s <= row.start_s:
        raise DataError(f"lasts {whole_s:g} s, but start_s is {row.start_s:g}")
    _check_rates(signals, row, found)
    if whole_s > SAME_LENGTH * min(lasts_s.values()):
        said = ", ".join(f"{name} {last_s:g} s" for name, last_s in sorted(lasts_s.items()))
        found.notes.append((row.line, f"physio: signals last {said}; is a rate wrong?"))
    for start_s, end_s in _gaps(path):
        if end_s > row.start_s and (row.end_s is None or start_s < row.end_s):
            found.notes.append(
                (row.line, f"physio: the clock jumps from {start_s:g} to {end_s:g} s")
            )
    _check_known(signals, row, found)
    return whole_s - row.start_s


def _check_rates(signals: Mapping[str, Signal], row: Row, found: Found) -> None:
    for name, signal in signals.items():
        found.rates.append((f"physio: {name}", row.line, round(signal.rate_hz, 3)))
        if signal.rate_hz < LEAST_HZ.get(name, 0.0):
            raise DataError(
                f"{name} at {signal.rate_hz:g} Hz; expected {LEAST_HZ[name]:g} or more: "
                "is the rate in its name right?"
            )


def _check_known(signals: Mapping[str, Signal], row: Row, found: Found) -> None:
    """Say where values are unknown for long inside the clip; nothing known is a problem."""
    known = False
    for name, signal in sorted(signals.items()):
        values = signal.window(row.start_s, row.end_s)
        finite = np.asarray(np.isfinite(values.reshape(len(values), -1)).any(axis=1))
        known = known or bool(finite.any())
        for first, last in runs(np.logical_not(finite)):
            if last - first > LONG_RUN_S * signal.rate_hz:
                start_s, end_s = (row.start_s + k / signal.rate_hz for k in (first, last))
                found.notes.append(
                    (row.line, f"physio: {name} is unknown from {start_s:.1f} to {end_s:.1f} s")
                )
    if not known:
        raise DataError("no signal is known inside the clip")


def runs(marked: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield first and last + 1 of each run of marked places."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


PROBES: dict[str, Probe] = {
    "audio": _audio,
    "features": _features,
    "image": _image,
    "physio": _physio,
    "text": _text,
    "video": _video,
}
