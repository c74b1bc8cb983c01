"""Modalities that are hidden at random: the settings of an experiment."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Missing:
    """Modalities hidden at random, to measure how a study holds up without them.

    Args:
        rate: chance that a modality is hidden, 0 to 0.95; a clip never loses all that it has.
        by: "clip", or "person" for all clips of a person alike.
        evaluation: whether they are hidden in evaluation, too, or while training alone.
        seed: public; says what is hidden. A higher rate hides more of the same.
        fusion: "masked" (an absent modality neither counts nor learns) or "zeros" (it is filled
            with zeros and counts like any other: the usual baseline).
    """

    rate: float = 0.0
    by: str = "clip"
    evaluation: bool = True
    seed: int = 0
    fusion: str = "masked"
