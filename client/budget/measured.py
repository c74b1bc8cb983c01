"""What noise did to models whose accuracy was measured with and without privacy.

Each row is a study of docs/usefulness.md, or README's demonstration, at ε = 8 and δ = 10⁻³ per
person: its noise-to-signal ratio over the run as `planning` computes it, and how much of the gain
over chance (UAR) was kept. They are measurements on other data: neighbours of a plan, no promise.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """One study, measured with privacy and without.

    Args:
        study: which, and in which mode.
        noise_to_signal: over the run.
        uar: with privacy, 0 to 1.
        uar_without: the same without privacy.
        chance: UAR of guessing.
    """

    study: str
    noise_to_signal: float
    uar: float
    uar_without: float
    chance: float

    @property
    def kept(self) -> float:
        """Share of the gain over chance that was kept."""
        return (self.uar - self.chance) / (self.uar_without - self.chance)


MEASURED = (
    Measured("cremad_votes, distributed", 0.100, 0.770, 0.771, 1 / 6),
    Measured("cremad_votes, local", 0.199, 0.764, 0.771, 1 / 6),
    Measured("meld, distributed", 0.310, 0.431, 0.579, 1 / 4),
    Measured("stress_predict, distributed", 0.344, 0.662, 0.676, 1 / 2),
    Measured("demo, local", 0.510, 0.722, 0.825, 1 / 5),
    Measured("stress_predict, local", 0.592, 0.641, 0.676, 1 / 2),
    Measured("meld, local", 1.69, 0.354, 0.579, 1 / 4),
    Measured("ravdess, distributed", 2.68, 0.337, 0.559, 1 / 8),
    Measured("ravdess, local", 5.33, 0.247, 0.559, 1 / 8),
)


def neighbours(noise_to_signal: float) -> tuple[Measured | None, Measured | None]:
    """Return the measured studies with the next less and the next more noise."""
    less = [one for one in MEASURED if one.noise_to_signal <= noise_to_signal]
    more = [one for one in MEASURED if one.noise_to_signal > noise_to_signal]
    return (less[-1] if less else None), (more[0] if more else None)
