"""Sentences whose choice of words leans to an emotion."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEXICON: tuple[tuple[str, ...], ...] = (
    ("furious", "unfair", "enough", "blame", "shout", "rude", "stupid", "hate", "annoyed",
     "insult", "outrage", "slammed", "lied", "cheated", "ridiculous", "provoked"),
    ("afraid", "danger", "scared", "shaking", "worried", "dark", "panic", "threat", "alarm",
     "nervous", "escape", "hide", "risk", "terrible", "nightmare", "trapped"),
    ("wonderful", "happy", "laugh", "great", "love", "sunny", "party", "delighted", "smile",
     "thanks", "celebrate", "lucky", "proud", "fun", "cheerful", "holiday"),
    ("report", "usual", "table", "morning", "schedule", "bus", "paper", "maybe", "office",
     "regular", "street", "number", "window", "average", "coffee", "list"),
    ("lonely", "lost", "miss", "cry", "tired", "alone", "sorry", "grave", "empty",
     "hopeless", "farewell", "regret", "tears", "grey", "broken", "mourn"),
)  # fmt: skip
"""Words for each of latent.CLASSES, in that order."""
FILLERS = ("I", "the", "we", "it", "and", "was", "then", "really", "that", "you", "so", "again",
           "they", "just", "there", "about", "today", "with", "my", "this")  # fmt: skip
LEANING = 0.5
"""Share of words that come from the lexicon."""


@dataclass(frozen=True)
class Style:
    """A person's own way of writing: how often each filler comes, and the usual length in words."""

    filler_shares: tuple[float, ...]
    length: int


def draw_style(rng: np.random.Generator) -> Style:
    """Draw a person's way of writing."""
    return Style(tuple(rng.dirichlet(np.full(len(FILLERS), 0.7))), int(rng.integers(9, 16)))


def say(rng: np.random.Generator, style: Style, leaning_C: NDArray[np.float64]) -> str:
    """Write one sentence.

    Args:
        rng: source of the words.
        style: whose words.
        leaning_C: a score per class; words of a class come in proportion to its exponential.
    """
    share_C = np.exp(leaning_C - leaning_C.max())
    share_C /= share_C.sum()
    words = []
    for _ in range(max(4, style.length + int(rng.integers(-2, 3)))):
        if rng.random() < LEANING:
            lexicon = LEXICON[rng.choice(len(LEXICON), p=share_C)]
            words.append(lexicon[rng.integers(len(lexicon))])
        else:
            words.append(FILLERS[rng.choice(len(FILLERS), p=style.filler_shares)])
    sentence = " ".join(words)
    return f"{sentence[0].upper()}{sentence[1:]}."
