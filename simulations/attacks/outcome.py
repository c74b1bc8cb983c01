"""What an attack brought: what was said against it, and how much of the victim came out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Said:
    """One refusal of a site, as the site itself put it.

    Args:
        site: who refused.
        stage: of which message.
        error: type of the error.
        reason: its text.
    """

    site: str
    stage: str
    error: str
    reason: str


@dataclass(frozen=True)
class Found:
    """How much of the victim's update the coordinator holds at the end.

    Args:
        recovered: values that are right, up to rounding.
        values: of the whole update.
        largest_error: among the recovered ones; None when there are none.
    """

    recovered: int
    values: int
    largest_error: float | None


@dataclass(frozen=True)
class Observed:
    """What one attack brought on one implementation.

    Args:
        found: the closest that the coordinator came to the victim's update.
        answered: "site stage" of each cheating message that got an answer.
        said: every refusal, in order.
        how: the last step of an attack that brought something, in words.
    """

    found: Found
    answered: tuple[str, ...]
    said: tuple[Said, ...]
    how: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether every cheating message was refused, and nothing was learnt."""
        return bool(self.said) and not self.answered and not self.found.recovered

    def as_json(self) -> dict[str, object]:
        """Everything as JSON values."""
        return {"refused": self.is_refused, **asdict(self.found), "how": self.how} | {
            "answered": list(self.answered),
            "said": [asdict(one) for one in self.said],
        }


def nothing(values: int) -> Found:
    """What a coordinator has that recovered no value."""
    return Found(0, values, None)


def compare(guess_P: Values, truth_P: Values, tolerance: float) -> Found:
    """Count the values of a guess that are the victim's, up to rounding."""
    error_P = np.abs(guess_P - truth_P)
    right = error_P <= tolerance
    largest = float(error_P[right].max()) if right.any() else None
    return Found(int(right.sum()), truth_P.size, largest)


def closest(found: Sequence[Found]) -> Found:
    """The guess with the most right values."""
    return max(found, key=lambda one: one.recovered)
