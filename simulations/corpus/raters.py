"""What raters say of a clip: votes for classes, places on dimensions, labels that hold.

A rater reads the cues, each with an error of its own, and votes for the likeliest class; valence
and arousal follow from the class voted for, and a label holds where one cue is strong. So raters
disagree more where the cues are less clear, as people do.
"""

import json

import numpy as np

from simulations.corpus import latent

PLACES = {
    "valence": {"anger": -0.6, "fear": -0.5, "joy": 0.7, "neutral": 0.0, "sadness": -0.7},
    "arousal": {"anger": 0.7, "fear": 0.6, "joy": 0.4, "neutral": -0.3, "sadness": -0.5},
}
"""Where raters put each class, from -1 to 1, before they disagree."""
SIGNS = {"smiling": ("video", "mouth", 0.6), "loud": ("audio", "effort", 0.7)}
"""Label -> the modality and axis that show it, and how much of it."""
DIMENSIONS, LABELS = tuple(PLACES), tuple(SIGNS)
COLUMNS = ("label_dist", *DIMENSIONS, *LABELS)
READING_ERROR = 0.5
RATING_ERROR = 0.15
UNRATED = 0.1
"""Share of clips that nobody put on the dimensions."""


def rate(cues: latent.Cues, raters: int, seed: tuple[int, ...]) -> dict[str, str]:
    """Rate one clip; returns the manifest's cells.

    Args:
        cues: what each modality expresses.
        raters: how many there are.
        seed: of their errors.
    """
    rng = np.random.default_rng(seed)
    seen = {
        name: cue_D + READING_ERROR * rng.standard_normal((raters, len(cue_D)))
        for name, cue_D in cues.items()
    }
    everything = np.ones((raters, len(latent.MODALITIES)), dtype=np.bool_)
    vote_R = latent.best_guess(seen, everything)
    share_C = np.bincount(vote_R, minlength=len(latent.CLASSES)) / raters
    voted = {name: round(float(s), 4) for name, s in zip(latent.CLASSES, share_C, strict=True) if s}
    cells = {"label_dist": json.dumps(voted)} | dict.fromkeys(DIMENSIONS, "")
    is_rated = rng.random() >= UNRATED
    for name, places in PLACES.items():
        at_R = np.array([places[latent.CLASSES[vote]] for vote in vote_R])
        mean = float(np.clip(at_R + RATING_ERROR * rng.standard_normal(raters), -1, 1).mean())
        cells |= {name: f"{mean:.3f}"} if is_rated else {}
    for name, (modality, axis, least) in SIGNS.items():
        column = latent.CHANNELS[modality].axes.index(axis)
        share = float((seen[modality][:, column] > least).mean())
        cells[name] = f"{share:.2f}"
    return cells
