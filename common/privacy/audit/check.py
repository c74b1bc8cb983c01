"""One line of an audit: what was tested, what was measured, what is allowed."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """A measurement against its bound; anything that is no number fails.

    Args:
        name: in a word or two.
        tested: in a sentence.
        measured: what came out.
        bound: whether `allowed` is the least or the most that may come out.
        allowed: the bound.
        fault: what it means where the bound is broken.
    """

    name: str
    tested: str
    measured: float
    bound: Literal["at least", "at most"]
    allowed: float
    fault: str

    @property
    def holds(self) -> bool:
        """Whether the measurement is within its bound."""
        if self.bound == "at least":
            return self.measured >= self.allowed
        return self.measured <= self.allowed

    @property
    def verdict(self) -> str:
        """What it means, in words."""
        return "holds" if self.holds else self.fault
