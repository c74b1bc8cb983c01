"""Pitch and voicing by autocorrelation, tracked through time."""

import numpy as np
import numpy.typing as npt

from client.data.features.spectrum import HOP, RATE_HZ, WINDOW, Array, frames

LOW_HZ, HIGH_HZ = 60, 550
PITCH_WINDOW = 640
PITCH_FFT = 2048
CANDIDATES = 6
OCTAVE_COST = 0.02
JUMP_COST = 0.03
LONGEST_JUMP = 12.0
REFERENCE_HZ = 55.0
CHUNK_FRAMES = 4096


def track_pitch(signal: Array) -> tuple[Array, Array]:
    """Return pitch in semitones above 55 Hz and voicing strength (0 to 1), 10 ms apart.

    Source: Boersma, Accurate short-term analysis of the fundamental frequency and the
    harmonics-to-noise ratio of a sampled sound, IFA Proceedings 17, 1993: the frame's
    autocorrelation is divided by the window's, and a path through the candidates is
    found that pays for jumps.
    """
    padded = np.pad(signal, (PITCH_WINDOW - WINDOW) // 2)
    framed = frames(padded, PITCH_WINDOW, HOP)
    parts = [
        _candidates(framed[start : start + CHUNK_FRAMES])
        for start in range(0, len(framed), CHUNK_FRAMES)
    ]
    pitch_TK, strength_TK = (np.concatenate(column) for column in zip(*parts, strict=True))
    best_T = _path(pitch_TK, strength_TK)
    time = np.arange(len(best_T))
    return pitch_TK[time, best_T], np.clip(strength_TK[time, best_T], 0.0, 1.0)


def _candidates(framed: Array) -> tuple[Array, Array]:
    shortest, longest = RATE_HZ // HIGH_HZ, RATE_HZ // LOW_HZ
    correlation = _autocorrelation(framed)
    inner = correlation[:, shortest:longest]
    peak = (inner > correlation[:, shortest - 1 : longest - 1]) & (
        inner >= correlation[:, shortest + 1 : longest + 1]
    )
    octaves = np.log2(np.arange(shortest, longest) / shortest)
    score = np.where(peak, inner - OCTAVE_COST * octaves, -1.0)
    best = np.argsort(-score, axis=1, kind="stable")[:, :CANDIDATES]
    lag = _refined(correlation, best + shortest)
    strength = np.take_along_axis(score, best, axis=1)
    return 12 * np.log2(RATE_HZ / lag / REFERENCE_HZ), strength


def _autocorrelation(framed: Array) -> Array:
    window = np.hanning(PITCH_WINDOW)
    longest = RATE_HZ // LOW_HZ + 2
    own = np.fft.irfft(np.square(np.abs(np.fft.rfft(window, PITCH_FFT))))[:longest]
    centred = (framed - framed.mean(axis=1, keepdims=True)) * window
    spectrum = np.square(np.abs(np.fft.rfft(centred, PITCH_FFT)))
    correlation = np.fft.irfft(spectrum)[:, :longest]
    return np.asarray(correlation / (correlation[:, :1] + 1e-9) / (own / own[0]))


def _refined(correlation: Array, lag: npt.NDArray[np.int64]) -> Array:
    before, here, after = (np.take_along_axis(correlation, lag + k, axis=1) for k in (-1, 0, 1))
    curvature = before - 2 * here + after
    shift = np.where(curvature < 0, (before - after) / (2 * np.minimum(curvature, -1e-12)), 0.0)
    return np.asarray(lag + np.clip(shift, -0.5, 0.5))


def _path(pitch_TK: Array, strength_TK: Array) -> npt.NDArray[np.int64]:
    back = np.zeros(pitch_TK.shape, dtype=np.int64)
    cost_K = -strength_TK[0]
    for t in range(1, len(pitch_TK)):
        jump = np.abs(pitch_TK[t][:, None] - pitch_TK[t - 1][None, :])
        total = cost_K[None, :] + JUMP_COST * np.minimum(jump, LONGEST_JUMP)
        back[t] = total.argmin(axis=1)
        cost_K = total.min(axis=1) - strength_TK[t]
    path = np.zeros(len(pitch_TK), dtype=np.int64)
    path[-1] = cost_K.argmin()
    for t in range(len(pitch_TK) - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path
