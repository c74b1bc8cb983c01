"""Tacit's accountant under Opacus' interface, so that an Opacus engine reports our ε.

It answers for what one engine did. A site's budget is answered by its ledger only: an engine
forgets at every start.
"""

from typing import Any

from opacus.accountants import IAccountant, register_accountant

from common.privacy.accountant import epsilon
from common.privacy.events import PoissonSampledGaussian

NAME = "tacit_pld"


class PldAccountant(IAccountant):  # type: ignore[misc]
    """Privacy-loss distributions over Opacus' history of (noise_multiplier, sample_rate, steps)."""

    def __init__(self) -> None:
        self.history: list[tuple[float, float, int]] = []

    def step(self, *, noise_multiplier: float, sample_rate: float) -> None:
        """Count one optimizer step."""
        last = self.history[-1] if self.history else None
        if last is not None and last[:2] == (noise_multiplier, sample_rate):
            self.history[-1] = (noise_multiplier, sample_rate, last[2] + 1)
        else:
            self.history.append((noise_multiplier, sample_rate, 1))

    def get_epsilon(self, delta: float, *_args: Any, **_options: Any) -> float:
        """Return ε at `delta` of the steps counted; 0 before the first."""
        events = (
            PoissonSampledGaussian(min(float(rate), 1.0), float(noise), steps, "record")
            for noise, rate, steps in self.history
        )
        return epsilon(events, delta, unit="record")

    def __len__(self) -> int:
        return sum(steps for _, _, steps in self.history)

    @classmethod
    def mechanism(cls) -> str:
        """Return the name under which Opacus knows this accountant."""
        return NAME


def register() -> str:
    """Make the accountant known to Opacus; return the name to give to a PrivacyEngine."""
    register_accountant(NAME, PldAccountant, force=True)
    return NAME
