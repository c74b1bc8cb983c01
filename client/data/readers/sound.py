"""Sound in a stream: blocks of bounded size, so that hours of it are never in memory at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.data.readers.audio import Signal, open_sound, resampled
from common.errors import DataError


@dataclass(frozen=True)
class Sound:
    """What a pass over a recording's window tells, without keeping it.

    Args:
        length_s: of the window.
        rate_hz: as recorded.
        peak: the largest absolute value.
        unknown: samples that are no finite numbers.
    """

    length_s: float
    rate_hz: int
    peak: float
    unknown: int


def measure_sound(path: Path, start_s: float = 0.0, end_s: float | None = None) -> Sound:
    """Pass over a window of a recording once.

    Guarantees: at most one block of about a million samples is in memory.

    Raises:
        DataError: when it cannot be decoded, is truncated, or the window holds no sound.
    """
    count, unknown, peak = 0, 0, 0.0
    with open_sound(path, start_s, end_s) as (rate_hz, blocks):
        for block in blocks:
            finite = np.isfinite(block)
            count, unknown = count + len(block), unknown + int((~finite).sum())
            peak = max(peak, float(np.abs(block[finite]).max(initial=0.0)))
    if not count:
        raise DataError(f"{path.name}: no sound from {start_s:g} s on")
    return Sound(count / rate_hz, rate_hz, peak, unknown)


def sound_windows(
    path: Path, window_s: float, start_s: float = 0.0, end_s: float | None = None
) -> Iterator[tuple[float, Signal]]:
    """Yield a recording's windows one after another: start in seconds, mono at 16 kHz.

    Guarantees: each equals `read_audio` of the same window; no more than one of them and one
    block are in memory. The last may be shorter.

    Raises:
        DataError: when it cannot be decoded or is truncated.
    """
    with open_sound(path, start_s, end_s) as (rate_hz, blocks):
        kept: list[Signal] = []
        held, done = 0, 0
        first = round(start_s * rate_hz)
        for block in blocks:
            kept.append(block)
            held += len(block)
            need = _edge(first, done + 1, window_s, rate_hz) - _edge(first, done, window_s, rate_hz)
            while held >= need:
                whole = np.concatenate(kept)
                yield start_s + done * window_s, resampled(np.nan_to_num(whole[:need]), rate_hz)
                kept, held, done = [whole[need:]], held - need, done + 1
                need = _edge(first, done + 1, window_s, rate_hz) - _edge(
                    first, done, window_s, rate_hz
                )
        if held:
            rest = np.concatenate(kept)
            yield start_s + done * window_s, resampled(np.nan_to_num(rest), rate_hz)


def _edge(first: int, index: int, window_s: float, rate_hz: int) -> int:
    return round((first / rate_hz + index * window_s) * rate_hz)
