"""Functionals of speech: what a clip sounds like, whatever its length.

Frame-wise descriptors are summed up by means, spreads and percentiles over the frames
that hold speech. Levels are relative to the clip, apart from three numbers, so that a
microphone's gain matters little.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from client.data.arrays import FloatArray
from client.data.features.base import FrontEnd, Window
from client.data.features.descriptors import BANDS, VOICED, Descriptors, Mask, describe
from client.data.features.spectrum import Array, cepstrum, decibel, slope
from client.data.features.speech_scale import CENTRE, CEPSTRA, SCALE
from client.data.manifest import Source
from client.data.readers.audio import audio_files, read_audio
from common.inputs import Options

MODULATION_HZ = ((0.5, 2.0), (2.0, 4.0), (4.0, 8.0), (8.0, 16.0), (16.0, 32.0))
FRAMES_PER_S = 100
MODULATION_FFT = 1024
LARGEST_STEP = 3.0
LEAST_SHARE = 2e-3
LIMIT = 5.0


def speech_functionals(signal: Array) -> FloatArray:
    """Return the functionals of a mono clip at 16 kHz, by public constants about unit size.

    Guarantees: a fixed number of finite values within ± 5; a longer clip of the same sound
    has the same values but for its borders.
    """
    d = describe(signal)
    groups = [_cepstra(d), _bands(d), _shape(d), _energy(d), _pitch(d), _voicing(d)]
    values = np.concatenate([*groups, _modulation(d), _contour(d)])
    scaled = np.nan_to_num((values - CENTRE) / SCALE)
    return np.asarray(np.clip(scaled, -LIMIT, LIMIT), dtype=np.float32)


def _cepstra(d: Descriptors) -> Array:
    c_TK = cepstrum(d.mel_TB, CEPSTRA)
    change_TK = slope(c_TK)[d.active_T]
    c_TK = c_TK[d.active_T]
    low, high = np.percentile(c_TK, [10, 90], axis=0)
    moments = [c_TK.mean(axis=0), c_TK.std(axis=0), low, high]
    return np.concatenate([*moments, change_TK.std(axis=0), np.abs(change_TK).mean(axis=0)])


def _bands(d: Descriptors) -> Array:
    change_TB = slope(d.mel_TB)[d.active_T]
    mel_TB = d.mel_TB[d.active_T]
    return np.concatenate([mel_TB.mean(axis=0), mel_TB.std(axis=0), change_TB.std(axis=0)])


def _shape(d: Descriptors) -> Array:
    active_TS, voiced_TS = d.shape_TS[d.active_T], d.shape_TS[d.voiced_T]
    percentiles = np.percentile(active_TS, [10, 50, 90], axis=0).ravel()
    active = [active_TS.mean(axis=0), active_TS.std(axis=0), percentiles]
    return np.concatenate([*active, voiced_TS.mean(axis=0), voiced_TS.std(axis=0)])


def _energy(d: Descriptors) -> Array:
    level = decibel(np.mean(10 ** (d.energy_T / 10)))
    relative_T = (d.energy_T - level)[d.active_T]
    change_T = slope(d.energy_T[:, None])[d.active_T, 0]
    percentiles = np.percentile(relative_T, [10, 25, 50, 75, 90])
    steps = [change_T.std(), np.abs(change_T).mean(), *np.percentile(change_T, [10, 90])]
    shares = [d.active_T.mean(), (change_T > 0).mean()]
    levels = [level, *np.percentile(d.energy_T, [90, 50])]
    return np.array([relative_T.std(), *percentiles, *steps, *shares, *levels])


def _pitch(d: Descriptors) -> Array:
    pitch_T = d.pitch_T[d.voiced_T]
    low, p20, p50, p80, high = np.percentile(pitch_T, [5, 20, 50, 80, 95])
    step_T = np.diff(d.pitch_T)[d.voiced_T[1:] & d.voiced_T[:-1]]
    step_T = step_T[np.abs(step_T) < LARGEST_STEP]
    step_T = step_T if len(step_T) > 3 else np.zeros(4)
    steps = [step_T.std(), np.abs(step_T).mean(), *np.percentile(step_T, [10, 90])]
    course = np.polyfit(np.linspace(-1, 1, len(pitch_T)), pitch_T, 2)
    moments = [pitch_T.mean(), pitch_T.std(), low, p20, p50, p80, high, high - low]
    return np.array([*moments, *steps, *course])


def _voicing(d: Descriptors) -> Array:
    active_T, voiced_T = d.voicing_T[d.active_T], d.voicing_T[d.voiced_T]
    percentiles = np.percentile(active_T, [10, 25, 50, 75, 90])
    share = d.voiced_T.sum() / d.active_T.sum()
    switches = np.abs(np.diff(d.voiced_T.astype(float))).sum() / d.active_T.sum()
    moments = [active_T.mean(), active_T.std(), *percentiles]
    return np.array([*moments, share, voiced_T.mean(), voiced_T.std(), switches])


def _modulation(d: Descriptors) -> Array:
    """How fast the envelopes of five bands and of the whole move: shares of the power in dB."""
    power_TB = 10 ** (d.mel_TB / 10)
    groups = [decibel(power_TB[:, b : b + 8].mean(axis=1)) for b in range(0, BANDS, 8)]
    whole_T = d.energy_T - decibel(np.mean(10 ** (d.energy_T / 10)))
    envelopes = np.maximum(np.column_stack([*groups, whole_T]), -40.0)
    tapered = (envelopes - envelopes.mean(axis=0)) * np.hanning(len(envelopes))[:, None]
    size = max(MODULATION_FFT, len(tapered))
    power = np.square(np.abs(np.fft.rfft(tapered, size, axis=0)))
    hz = np.fft.rfftfreq(size, 1 / FRAMES_PER_S)
    sums = np.array([power[(hz >= low) & (hz < high)].sum(axis=0) for low, high in MODULATION_HZ])
    shares = sums / (sums.sum(axis=0) + 1e-9)
    return np.asarray(10 * np.log10(shares + LEAST_SHARE)).ravel()


def _contour(d: Descriptors) -> Array:
    """Spectrum, energy and pitch in each third of the speech."""
    level = decibel(np.mean(10 ** (d.energy_T / 10)))
    centre = d.pitch_T[d.voiced_T].mean()
    thirds = np.array_split(np.flatnonzero(d.active_T), 3)
    return np.concatenate([_third(d, index, float(level), float(centre)) for index in thirds])


def _third(
    d: Descriptors, index: np.ndarray[tuple[int], np.dtype[np.int64]], level: float, centre: float
) -> Array:
    voiced: Mask = d.voicing_T[index] > VOICED
    pitch = d.pitch_T[index][voiced].mean() - centre if voiced.any() else 0.0
    return np.array([*d.mel_TB[index].mean(axis=0)[::4], d.energy_T[index].mean() - level, pitch])


def _extract(source: Source, windows: Sequence[Window], options: Options) -> list[FloatArray]:
    path = Path(str(source))
    return [speech_functionals(read_audio(path, start_s, end_s)) for start_s, end_s in windows]


SPEECH_FUNCTIONALS = FrontEnd(version=1, files=audio_files, extract=_extract)
