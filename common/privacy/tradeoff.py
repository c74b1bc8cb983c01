"""What (ε, δ) means for somebody who tests whether a unit took part: errors, and odds.

The type I error α is how often such a test says "took part" of somebody who did not; the type
II error β is how often it misses somebody who did. A history bounds β from below for every α.
Source: Dong, Roth, Su 2022, Proposition 2.12 (from δ(ε) to the trade-off function).
"""

import math
from dataclasses import dataclass

import numpy as np

from common.privacy.accountant import Cost, deltas_of, rdp_epsilon_of

_FINEST = 1e-6
_EPSILONS = 96


@dataclass(frozen=True)
class Errors:
    """A point of the trade-off curve: no test with type I error α misses less often than β."""

    alpha: float
    beta: float


def trade_off(cost: Cost, points: int = 101) -> tuple[Errors, ...]:
    """Return the trade-off curve of a merged history at evenly spaced α.

    Guarantees: never above the true curve; β = 0 throughout where nothing bounds the loss.
    """
    most = rdp_epsilon_of(cost, _FINEST)
    epsilon_E = np.linspace(0.0, most, _EPSILONS) if math.isfinite(most) else np.zeros(1)
    delta_E = np.array(deltas_of(cost, epsilon_E.tolist()))
    alpha_A = np.linspace(0.0, 1.0, points)
    steep_AE = 1 - delta_E - np.exp(epsilon_E) * alpha_A[:, None]
    flat_AE = np.exp(-epsilon_E) * (1 - delta_E - alpha_A[:, None])
    beta_A = np.maximum(steep_AE, flat_AE).max(axis=1).clip(min=0.0)
    return tuple(Errors(float(a), float(b)) for a, b in zip(alpha_A, beta_A, strict=True))


def right_of_hundred(cost: Cost) -> int:
    """Return of how many of 100 guesses, at most, an onlooker can be right that a unit took part.

    The guesser flips a fair coin for the unit's presence, knows all else, and sees everything
    released: 100 · (1 + TV) / 2, where the total variation TV is δ at ε = 0; rounded up.
    """
    return min(100, math.ceil(50 * (1 + deltas_of(cost, [0.0])[0]) - 1e-9))
