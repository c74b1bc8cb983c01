"""Frame-wise descriptors of speech, 10 ms apart: bands, energy, shape, pitch, voicing."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from client.data.features.pitch import track_pitch
from client.data.features.spectrum import (
    CHUNK_FRAMES,
    FFT,
    HOP,
    RATE_HZ,
    WINDOW,
    Array,
    decibel,
    frames,
    mel_bank,
    power_spectrum,
)

BANDS = 40
QUIET_DB = 30.0
FLOOR_DB = -60.0
VOICED = 0.5
LEAST_FRAMES = 5
SHAPE_BANDS_HZ = ((0, 250), (250, 650), (650, 1500), (1500, 4000), (4000, 8001))
HZ = np.fft.rfftfreq(FFT, 1 / RATE_HZ)
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Descriptors:
    """One row per frame.

    Args:
        mel_TB: mel bands in dB relative to the clip's mean, not below -60.
        energy_T: dB relative to full scale.
        shape_TS: thirteen numbers on the shape of the spectrum.
        pitch_T: semitones above 55 Hz; meaningful where voiced_T.
        voicing_T: strength of periodicity, 0 to 1.
        active_T: frames within 30 dB of the loud ones.
        voiced_T: active frames with a pitch; the active ones where there are too few.
    """

    mel_TB: Array
    energy_T: Array
    shape_TS: Array
    pitch_T: Array
    voicing_T: Array
    active_T: Mask
    voiced_T: Mask


def describe(signal: Array) -> Descriptors:
    """Return the descriptors of a mono clip at 16 kHz, computed in pieces of bounded size."""
    least = WINDOW + (LEAST_FRAMES - 1) * HOP
    signal = np.pad(signal, (0, max(0, least - len(signal))))
    count = (len(signal) - WINDOW) // HOP + 1
    parts = [
        _spectral(signal[start * HOP : (min(start + CHUNK_FRAMES, count) - 1) * HOP + WINDOW])
        for start in range(0, count, CHUNK_FRAMES)
    ]
    power_TB, energy_T, shape_TS = (np.concatenate(column) for column in zip(*parts, strict=True))
    pitch_T, voicing_T = track_pitch(signal)
    active_T = energy_T > np.percentile(energy_T, 95) - QUIET_DB
    if active_T.sum() < LEAST_FRAMES:
        active_T = np.ones(count, dtype=np.bool_)
    voiced_T = (voicing_T > VOICED) & active_T
    level = decibel(power_TB[active_T].mean())
    return Descriptors(
        mel_TB=np.maximum(decibel(power_TB) - level, FLOOR_DB),
        energy_T=energy_T,
        shape_TS=np.column_stack([shape_TS, flux(power_TB)]),
        pitch_T=pitch_T,
        voicing_T=voicing_T,
        active_T=active_T,
        voiced_T=voiced_T if voiced_T.sum() >= LEAST_FRAMES else active_T,
    )


def flux(power_TB: Array) -> Array:
    """Return how much the shape of the spectrum changed since the frame before, 0 to √2."""
    share_TB = power_TB / (power_TB.sum(axis=1, keepdims=True) + 1e-9)
    change_TB = np.diff(np.sqrt(share_TB), axis=0, prepend=np.sqrt(share_TB[:1]))
    return np.asarray(np.sqrt(np.square(change_TB).sum(axis=1)))


def _spectral(signal: Array) -> tuple[Array, Array, Array]:
    power = power_spectrum(signal)
    energy_T = decibel(np.square(frames(signal, WINDOW, HOP)).mean(axis=1))
    return power @ mel_bank(BANDS).T, energy_T, _shape(power)


def _shape(power: Array) -> Array:
    share = power / (power.sum(axis=1, keepdims=True) + 1e-9)
    centroid = share @ HZ / 1000
    spread = np.sqrt((share * np.square(HZ / 1000 - centroid[:, None])).sum(axis=1))
    flatness = np.log(power + 1e-9).mean(axis=1) - np.log(power.mean(axis=1) + 1e-9)
    alpha = _band_db(power, 1000, 5000) - _band_db(power, 50, 1000)
    low, high = power[:, HZ < 2000], power[:, (HZ >= 2000) & (HZ < 5000)]
    hammarberg = _shape_db(low.max(axis=1)) - _shape_db(high.max(axis=1))
    total = _band_db(power, 0, 8001)
    bands = [_band_db(power, low_hz, high_hz) - total for low_hz, high_hz in SHAPE_BANDS_HZ]
    rolls = [_rolloff(share, 0.85), _rolloff(share, 0.5)]
    return np.column_stack([centroid, spread, *rolls, flatness, alpha, hammarberg, *bands])


def _rolloff(share: Array, part: float) -> Array:
    index = (share.cumsum(axis=1) < part).sum(axis=1)
    return np.asarray(np.log2(HZ[np.clip(index, 1, len(HZ) - 1)]))


def _band_db(power: Array, low_hz: float, high_hz: float) -> Array:
    return _shape_db(power[:, (low_hz <= HZ) & (high_hz > HZ)].sum(axis=1))


def _shape_db(power: Array) -> Array:
    return np.asarray(10 * np.log10(power + 1e-7))
