"""Log-mel spectra of a clip, averaged over evenly spaced stretches of time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from client.data.arrays import FloatArray
from client.data.features.base import FrontEnd, Window
from client.data.features.descriptors import FLOOR_DB
from client.data.features.spectrum import (
    CHUNK_FRAMES,
    HOP,
    WINDOW,
    Array,
    decibel,
    mel_bank,
    power_spectrum,
)
from client.data.manifest import Source
from client.data.readers.audio import audio_files, read_audio
from common.inputs import Options

CENTRE_DB, SCALE_DB = -22.0, 14.0


def logmel(signal: Array, frames: int, bands: int) -> FloatArray:
    """Return (frames, bands): dB relative to the clip's mean power, about unit size.

    Each of the frames is the mean over an equal share of the clip, so that a clip's length
    leaves no trace in the shape.
    """
    signal = np.pad(signal, (0, max(0, WINDOW - len(signal))))
    count = (len(signal) - WINDOW) // HOP + 1
    power_TB = np.concatenate(
        [
            power_spectrum(
                signal[start * HOP : (min(start + CHUNK_FRAMES, count) - 1) * HOP + WINDOW]
            )
            @ mel_bank(bands).T
            for start in range(0, count, CHUNK_FRAMES)
        ]
    )
    level_TB = np.maximum(decibel(power_TB) - decibel(power_TB.mean()), FLOOR_DB)
    pooled = _pooled((level_TB - CENTRE_DB) / SCALE_DB, frames)
    return np.asarray(pooled, dtype=np.float32)


def _pooled(values_TB: Array, frames: int) -> Array:
    """Means over equal shares of time; shares shorter than a frame repeat it."""
    edges = np.linspace(0, len(values_TB), frames + 1)
    first = np.floor(edges[:-1]).astype(int)
    last = np.maximum(np.ceil(edges[1:]).astype(int), first + 1)
    total = np.concatenate([np.zeros((1, values_TB.shape[1])), values_TB.cumsum(axis=0)])
    return np.asarray((total[last] - total[first]) / (last - first)[:, None])


def _extract(source: Source, windows: Sequence[Window], options: Options) -> list[FloatArray]:
    path = Path(str(source))
    frames, bands = options["frames"], options["bands"]
    return [logmel(read_audio(path, start_s, end_s), frames, bands) for start_s, end_s in windows]


LOGMEL = FrontEnd(version=1, files=audio_files, extract=_extract)
