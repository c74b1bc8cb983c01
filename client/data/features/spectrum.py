"""Short-time spectra of speech at 16 kHz: power, mel bands, cepstra, slopes over time."""

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.fft import dct

RATE_HZ = 16_000
HOP = 160
WINDOW = 400
FFT = 512
LOW_HZ, HIGH_HZ = 50.0, 8_000.0
POWER_FLOOR = 1e-9
CHUNK_FRAMES = 4096
Array = npt.NDArray[np.float64]


def frames(signal: Array, window: int, hop: int) -> Array:
    """Return overlapping frames (T, window) as a view; the signal holds at least one."""
    return np.lib.stride_tricks.sliding_window_view(signal, window)[::hop]


def power_spectrum(signal: Array) -> Array:
    """Return the power (T, FFT // 2 + 1) of Hann-windowed frames of 25 ms, 10 ms apart."""
    tapered = frames(signal, WINDOW, HOP) * np.hanning(WINDOW)
    return np.square(np.abs(np.fft.rfft(tapered, FFT)))


@cache
def mel_bank(bands: int) -> Array:
    """Return triangular filters (bands, FFT // 2 + 1), evenly spaced on the mel scale."""
    edges = _hz(np.linspace(_mel(LOW_HZ), _mel(HIGH_HZ), bands + 2))
    hz = np.fft.rfftfreq(FFT, 1 / RATE_HZ)
    rising = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rising, falling))


def decibel(power: npt.ArrayLike) -> Array:
    """Return 10 log10 of a power, floored far below hearing."""
    return np.asarray(10.0 * np.log10(np.asarray(power) + POWER_FLOOR))


def cepstrum(mel_db: Array, count: int) -> Array:
    """Return cepstral coefficients 1 to count: the shape of the spectrum without its level."""
    return np.asarray(dct(mel_db, axis=-1, norm="ortho")[..., 1 : count + 1])


def slope(values_TF: Array, reach: int = 2) -> Array:
    """Return the regression slope per frame over ± reach frames ("delta")."""
    padded = np.pad(values_TF, ((reach, reach), (0, 0)), mode="edge")
    length = len(values_TF)
    total = sum(
        k * (padded[reach + k : reach + k + length] - padded[reach - k : reach - k + length])
        for k in range(1, reach + 1)
    )
    return np.asarray(total / (2 * sum(k * k for k in range(1, reach + 1))))


def _mel(hz: float) -> float:
    return float(2595 * np.log10(1 + hz / 700))


def _hz(mel: Array) -> Array:
    return np.asarray(700 * (10 ** (mel / 2595) - 1))
