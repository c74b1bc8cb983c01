"""Speech-like sound: pulses of a glottis through the moving resonances of a mouth, and hisses."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

RATE_HZ = 16_000
PIECE = 480
"""Samples over which the mouth stands still."""
VOWELS_HZ = np.array(
    [
        (730, 1090, 2440, 3500, 4500, 5600),
        (270, 2290, 3010, 3600, 4500, 5600),
        (570, 840, 2410, 3400, 4500, 5600),
        (530, 1840, 2480, 3500, 4500, 5600),
        (300, 870, 2240, 3300, 4500, 5600),
    ]
)
"""Formants of five vowels; the first three by Peterson and Barney, JASA 1952."""
BANDWIDTHS_HZ = (80, 100, 140, 200, 280, 400)
HISSES_HZ = ((4500, 7600), (2400, 5200), (1200, 7000))
"""Bands of noise in consonants."""
HISSES = [signal.butter(2, band, "bandpass", fs=RATE_HZ, output="sos") for band in HISSES_HZ]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Voice:
    """A person's own voice.

    Args:
        pitch_hz: usual fundamental frequency.
        tract: length of the vocal tract relative to an adult male; divides the formants.
        breath: share of noise in the source.
        loudness_db: usual level relative to others.
        tempo_hz: usual syllables a second.
    """

    pitch_hz: float
    tract: float
    breath: float
    loudness_db: float
    tempo_hz: float


def draw_voice(rng: np.random.Generator, female: bool) -> Voice:
    """Draw a person's voice."""
    return Voice(
        pitch_hz=(205.0 if female else 120.0) * 2 ** rng.normal(0, 0.18),
        tract=(0.87 if female else 1.0) * 2 ** rng.normal(0, 0.05),
        breath=float(rng.uniform(0.01, 0.04)),
        loudness_db=float(rng.normal(0, 1.5)),
        tempo_hz=float(rng.uniform(4.0, 5.0)),
    )


def speak(
    rng: np.random.Generator,
    voice: Voice,
    seconds: float,
    pitch: float,
    effort: float,
    tempo: float,
) -> NDArray[np.int16]:
    """Say some syllables.

    Args:
        rng: source of vowels, consonants, jitter and breath.
        voice: whose voice.
        seconds: length.
        pitch: raises the fundamental and its movement; 0 is usual, 1 clearly raised.
        effort: raises level and treble.
        tempo: raises the number of syllables a second.

    Returns:
        16-bit samples at 16 kHz.
    """
    length = int(seconds * RATE_HZ)
    rate_hz = voice.tempo_hz * 2 ** (0.4 * np.clip(tempo, -3, 3))
    edges = _edges(rng, length, max(2, round(rate_hz * seconds)))
    onset_S = edges[:-1] + (rng.uniform(0.1, 0.4, len(edges) - 1) * np.diff(edges)).astype(int)
    source_N = _source(rng, voice, pitch, edges, length) * _opening(rng, edges, onset_S, length)
    sound_N = _mouth(rng, voice, effort, edges, source_N)
    sound_N /= np.sqrt(np.mean(sound_N**2)) + 1e-9
    sound_N += _hisses(rng, edges, onset_S, length)
    level = 0.05 * 10 ** ((voice.loudness_db + 5 * effort + rng.normal(0, 1)) / 20)
    noisy_N = level * sound_N + 0.0004 * rng.standard_normal(length)
    samples_N: NDArray[np.int16] = np.clip(noisy_N * 32_767, -32_767, 32_767).astype(np.int16)
    return samples_N


def _edges(rng: np.random.Generator, length: int, syllables: int) -> IntArray:
    """Where syllables begin and end, between a little silence before and after."""
    share_S = rng.uniform(0.7, 1.3, syllables)
    start, end = rng.uniform(0.01, 0.05), rng.uniform(0.90, 0.98)
    inner_S = start + (end - start) * np.cumsum(share_S) / share_S.sum()
    edges: IntArray = (np.array([start, *inner_S]) * length).astype(np.int64)
    return edges


def _source(
    rng: np.random.Generator, voice: Voice, pitch: float, edges: IntArray, length: int
) -> FloatArray:
    """Pulses whose rate falls over the phrase and moves with each syllable, and some breath."""
    movement = 0.12 * 2 ** (0.6 * np.clip(pitch, -3, 3))
    accents = movement * rng.standard_normal(len(edges))
    octaves_N = np.interp(np.arange(length), edges, accents) + np.linspace(0.08, -0.12, length)
    pitch_N = voice.pitch_hz * 2 ** (0.25 * pitch + octaves_N)
    pitch_N = np.clip(pitch_N * (1 + 0.02 * rng.standard_normal(length)), 50, 500)
    pulse_N = np.diff(np.floor(np.cumsum(pitch_N / RATE_HZ)), prepend=0.0)
    source_N: FloatArray = pulse_N - pitch_N / RATE_HZ + voice.breath * rng.standard_normal(length)
    return source_N


def _opening(
    rng: np.random.Generator, edges: IntArray, onset_S: IntArray, length: int
) -> FloatArray:
    """How far the voice is heard: closed in a consonant, open in a vowel."""
    size_S = 10 ** (rng.normal(0, 3, len(onset_S)) / 20)
    open_S = onset_S + (0.25 * (edges[1:] - onset_S)).astype(int)
    knots = np.stack([edges[:-1] + 1, onset_S, open_S, edges[1:]], axis=1).reshape(-1)
    heights = np.stack([0.03 * size_S, 0.03 * size_S, size_S, 0.15 * size_S], axis=1).reshape(-1)
    opening_N: FloatArray = np.interp(np.arange(length), [0, *knots, length], [0.0, *heights, 0.0])
    return opening_N


def _mouth(
    rng: np.random.Generator, voice: Voice, effort: float, edges: IntArray, source_N: FloatArray
) -> FloatArray:
    """Resonances that move from vowel to vowel; less effort takes away treble."""
    vowels_SF = VOWELS_HZ[rng.integers(len(VOWELS_HZ), size=len(edges) - 1)] / voice.tract
    middle_S = (edges[:-1] + edges[1:]) / 2
    starts = np.arange(0, len(source_N), PIECE)
    formants_PF = np.stack(
        [np.interp(starts, middle_S, formant_S) for formant_S in vowels_SF.T], axis=1
    )
    closing = float(np.clip(0.91 - 0.05 * effort, 0.6, 0.985))
    state = np.zeros((1 + len(BANDWIDTHS_HZ), 2))
    pieces = []
    for start, sections in zip(starts, _sections(closing, formants_PF), strict=True):
        piece_N, state = signal.sosfilt(sections, source_N[start : start + PIECE], zi=state)
        pieces.append(piece_N)
    return np.concatenate(pieces)


def _sections(closing: float, formants_PF: FloatArray) -> FloatArray:
    """The glottis as one pole and each formant as two: second-order sections of gain 1 at 0 Hz."""
    radius_F = np.exp(-np.pi * np.array(BANDWIDTHS_HZ) / RATE_HZ)
    middle_PF = -2 * radius_F * np.cos(2 * np.pi * np.minimum(formants_PF, 7500) / RATE_HZ)
    sections = np.zeros((len(formants_PF), 1 + len(radius_F), 6))
    sections[:, :, 3] = 1
    sections[:, 0, 0], sections[:, 0, 4] = 1 - closing, -closing
    sections[:, 1:, 4], sections[:, 1:, 5] = middle_PF, radius_F**2
    sections[:, 1:, 0] = 1 + middle_PF + radius_F**2
    return sections


def _hisses(
    rng: np.random.Generator, edges: IntArray, onset_S: IntArray, length: int
) -> FloatArray:
    """Noise in the consonants, in one of some bands."""
    sound_N = np.zeros(length)
    for start, end in zip(edges[:-1], onset_S, strict=True):
        if end - start > 64:
            loud = 0.6 * 10 ** (rng.normal(-4, 5) / 20)
            band = HISSES[rng.integers(len(HISSES))]
            noise_N = signal.sosfilt(band, rng.standard_normal(end - start))
            sound_N[start:end] += loud * noise_N * np.hanning(end - start)
    return sound_N
