"""Speech-like sound: pulses of a glottis through the resonances of a mouth, by syllables."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import signal

RATE_HZ = 16_000
VOWELS_HZ = (
    (730, 1090, 2440),
    (270, 2290, 3010),
    (570, 840, 2410),
    (530, 1840, 2480),
    (300, 870, 2240),
)
"""First three formants of five vowels. Source: Peterson and Barney, JASA 1952."""
BANDWIDTHS_HZ = (80, 100, 140)


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
        breath=float(rng.uniform(0.02, 0.08)),
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
        rng: source of vowels, jitter and breath.
        voice: whose voice.
        seconds: length.
        pitch: raises the fundamental and its movement; 0 is usual, 1 clearly raised.
        effort: raises level and treble.
        tempo: raises the number of syllables a second.

    Returns:
        16-bit samples at 16 kHz.
    """
    rate_hz = voice.tempo_hz * 2 ** (0.4 * np.clip(tempo, -3, 3))
    edges = np.linspace(0, seconds * RATE_HZ, max(2, round(rate_hz * seconds)) + 1).astype(int)
    source_N = _source(rng, voice, pitch, edges)
    sound_N = np.concatenate(
        [_syllable(rng, voice, effort, source_N[start:end]) for start, end in pairwise(edges)]
    )
    level = 0.06 * 10 ** ((voice.loudness_db + 5 * effort + rng.normal(0, 1)) / 20)
    sound_N = sound_N * level / (np.sqrt(np.mean(sound_N**2)) + 1e-9)
    noisy_N = sound_N + 0.0015 * rng.standard_normal(len(sound_N))
    samples_N: NDArray[np.int16] = np.clip(noisy_N * 32_767, -32_767, 32_767).astype(np.int16)
    return samples_N


def _source(
    rng: np.random.Generator, voice: Voice, pitch: float, edges: NDArray[np.int_]
) -> NDArray[np.float64]:
    """Pulses whose rate falls over the phrase and moves with each syllable, and some breath."""
    length, syllables = edges[-1], len(edges) - 1
    movement = 0.12 * 2 ** (0.6 * pitch)
    accents = movement * rng.standard_normal(syllables + 1)
    octaves_N = np.interp(np.arange(length), edges, accents) + np.linspace(0.08, -0.12, length)
    pitch_N = voice.pitch_hz * 2 ** (0.25 * pitch + octaves_N)
    pitch_N = np.clip(pitch_N * (1 + 0.01 * rng.standard_normal(length)), 50, 500)
    pulse_N = np.diff(np.floor(np.cumsum(pitch_N / RATE_HZ)), prepend=0.0)
    source_N: NDArray[np.float64] = pulse_N + voice.breath * 0.3 * rng.standard_normal(length)
    return source_N


def _syllable(
    rng: np.random.Generator, voice: Voice, effort: float, source_N: NDArray[np.float64]
) -> NDArray[np.float64]:
    """One vowel with a rise and a fall; less effort takes away treble."""
    formants_HZ = np.array(VOWELS_HZ[rng.integers(len(VOWELS_HZ))]) / voice.tract
    closing = float(np.clip(0.93 - 0.06 * effort, 0.6, 0.985))
    sections = [[1 - closing, 0, 0, 1, -closing, 0]]
    for centre_hz, width_hz in zip(formants_HZ, BANDWIDTHS_HZ, strict=True):
        radius = np.exp(-np.pi * width_hz / RATE_HZ)
        cosine = np.cos(2 * np.pi * centre_hz / RATE_HZ)
        middle, last = -2 * radius * cosine, radius**2
        sections.append([1 + middle + last, 0, 0, 1, middle, last])
    shape_N = np.sin(np.linspace(0.05, np.pi - 0.05, len(source_N))) ** 0.7
    vowel_N: NDArray[np.float64] = signal.sosfilt(np.array(sections), source_N) * shape_N
    return vowel_N
