"""What noise did to models whose accuracy was measured with and without privacy.

Each row is a study of README, at ε = 8 and δ = 10⁻³ per person: its noise-to-signal ratio over the
run as `planning` computes it, and how much of the gain over chance (UAR) was kept. They are
measurements on other data: neighbours of a plan, and no promise.
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
    Measured("cremad_votes, distributed", 0.121, 0.756, 0.771, 1 / 6),
    Measured("cremad_votes, local", 0.214, 0.751, 0.771, 1 / 6),
    Measured("demo, local", 0.510, 0.722, 0.825, 1 / 5),
    Measured("stress_predict, local", 0.608, 0.580, 0.676, 1 / 2),
    Measured("ravdess, local", 5.41, 0.167, 0.559, 1 / 8),
    Measured("meld, local", 11.9, 0.318, 0.552, 1 / 4),
)


def neighbours(noise_to_signal: float) -> tuple[Measured | None, Measured | None]:
    """Return the measured studies with the next less and the next more noise."""
    less = [one for one in MEASURED if one.noise_to_signal <= noise_to_signal]
    more = [one for one in MEASURED if one.noise_to_signal > noise_to_signal]
    return (less[-1] if less else None), (more[0] if more else None)
