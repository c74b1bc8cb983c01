"""What lies behind the recordings: an emotion, the cues it sends through each modality, a ceiling.

A clip has a label y. What the person expresses, z, is y except for a share of clips where people
and their raters disagree. Each modality carries a cue, normal around a centre of z; the recording
is rendered from the cue, shifted by the person's own habits. Whoever reads the cues themselves
decides best; no model of the recordings can do better on average.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CLASSES = ("anger", "fear", "joy", "neutral", "sadness")
DISAGREEMENT = 0.05
"""Share of clips whose label is another emotion than the one expressed."""


@dataclass(frozen=True)
class Channel:
    """How one modality carries an emotion.

    Args:
        axes: names of the cue's axes, in units that its renderer understands.
        centre_CD: where each class lies.
        spread: standard deviation of a cue around its centre, on every axis.
        habit: standard deviation of a person's own shift, on every axis.
    """

    axes: tuple[str, ...]
    centre_CD: tuple[tuple[float, ...], ...]
    spread: float
    habit: float


CHANNELS: dict[str, Channel] = {
    "audio": Channel(
        ("pitch", "effort", "tempo"),
        ((0.4, 1.4, 0.5), (1.2, -0.4, 1.2), (1.2, 0.6, -0.2), (0.0, 0.0, 0.0), (-0.9, -0.9, -0.9)),
        spread=0.6,
        habit=0.3,
    ),
    "physio": Channel(
        ("heart", "sweat"),
        ((1.2, 0.4), (0.8, 1.4), (0.5, 0.0), (-0.3, -0.3), (-1.0, 0.3)),
        spread=0.6,
        habit=0.3,
    ),
    "text": Channel(
        CLASSES,
        tuple(tuple(2.0 * float(c == d) for d in CLASSES) for c in CLASSES),
        spread=1.0,
        habit=0.3,
    ),
    "video": Channel(
        ("mouth", "brow", "eyes"),
        (
            (-0.5, -1.3, -0.2),
            (-0.4, 0.9, 1.3),
            (1.4, 0.2, -0.3),
            (0.0, 0.0, 0.0),
            (-1.0, 0.7, -0.9),
        ),
        spread=0.6,
        habit=0.3,
    ),
}
MODALITIES = tuple(sorted(CHANNELS))
Cues = dict[str, FloatArray]


def expressed(rng: np.random.Generator, label_N: IntArray) -> IntArray:
    """Draw the class that is expressed in each clip of these labels."""
    other_N = (label_N + rng.integers(1, len(CLASSES), len(label_N))) % len(CLASSES)
    return np.where(rng.random(len(label_N)) < DISAGREEMENT, other_N, label_N)


def draw_cues(rng: np.random.Generator, emotion_N: IntArray) -> Cues:
    """Draw the cues of clips that express these classes, in all modalities."""
    return {
        name: np.array(channel.centre_CD)[emotion_N]
        + channel.spread * rng.standard_normal((len(emotion_N), len(channel.axes)))
        for name, channel in CHANNELS.items()
    }


def draw_habits(rng: np.random.Generator) -> Cues:
    """Draw one person's own shift of every cue."""
    return {
        name: channel.habit * rng.standard_normal(len(channel.axes))
        for name, channel in CHANNELS.items()
    }


def best_guess(cues_ND: Mapping[str, FloatArray], present_NM: NDArray[np.bool_]) -> IntArray:
    """Guess each clip's label from its cues, knowing how they were drawn.

    With equal priors and disagreement spread evenly, the likeliest expressed class is also the
    likeliest label.
    """
    score_NC = np.zeros((len(present_NM), len(CLASSES)))
    for column, name in enumerate(MODALITIES):
        channel = CHANNELS[name]
        away_NCD = cues_ND[name][:, None, :] - np.array(channel.centre_CD)
        log_likelihood_NC = -((away_NCD / channel.spread) ** 2).sum(axis=2) / 2
        score_NC += log_likelihood_NC * present_NM[:, [column]]
    guess_N: IntArray = score_NC.argmax(axis=1)
    return guess_N


def ceiling_uar(
    rng: np.random.Generator, present_NM: NDArray[np.bool_], draws: int = 20_000
) -> float:
    """Estimate the expected UAR of the best guess over clips with these modalities present.

    Args:
        rng: source of the draws.
        present_NM: presence of MODALITIES in the clips that stand for all.
        draws: clips drawn; the standard error is at most 0.5/√draws.
    """
    label_N = np.arange(draws) % len(CLASSES)
    cues_ND = draw_cues(rng, expressed(rng, label_N))
    guess_N = best_guess(cues_ND, present_NM[rng.integers(0, len(present_NM), draws)])
    return float(np.mean([(guess_N[label_N == c] == c).mean() for c in range(len(CLASSES))]))


def alone(modality: str, present_NM: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return presence of one modality alone, over the clips that have it."""
    column = MODALITIES.index(modality)
    alone_NM = np.zeros_like(present_NM)
    alone_NM[:, column] = present_NM[:, column]
    return alone_NM[alone_NM[:, column]]


def labels_for(rng: np.random.Generator, clips: int) -> Sequence[int]:
    """Draw the labels of one person's clips: each class as often as any other, or once more."""
    rounds = -(-clips // len(CLASSES))
    return [int(c) for _ in range(rounds) for c in rng.permutation(len(CLASSES))][:clips]
