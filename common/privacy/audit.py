"""Empirical checks of a site's real DP step: is there as much noise as claimed, and clipping?

An audit passes on a sound build and fails on a broken one; it proves no ε. The steps are run
by the caller through the very code that trains, each with a noise stream opened as in a new
round, so that a seeded generator shows.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.errors import ConfigError

Vector = npt.NDArray[np.float32]

NOISE_LIMIT_Z = 4.5
"""Fewer than one false alarm in 200,000."""
PAIR_LIMIT_Z = 6.0
"""The same for the largest of a few hundred pairs."""
CANARY_LIMIT_Z = 3.09
"""One-sided level of 0.1 % before the 5 % of leeway."""
LEEWAY = 1.05


@dataclass(frozen=True)
class NoiseAudit:
    """What noise-only steps showed.

    Args:
        ratio: measured over claimed standard deviation.
        z: the same in standard errors; far below 0 means too little noise.
        repeat_z: largest correlation between two steps, in standard errors.
    """

    ratio: float
    z: float
    repeat_z: float

    @property
    def findings(self) -> tuple[str, ...]:
        """Return what is wrong, in words; empty where nothing is."""
        found = []
        if not self.z > -NOISE_LIMIT_Z:
            found.append(f"the noise is {self.ratio:.3f} times what is claimed (z = {self.z:.1f})")
        if not self.repeat_z < PAIR_LIMIT_Z:
            found.append(f"two steps share noise (correlation z = {self.repeat_z:.1f})")
        return tuple(found)


def noise_audit(release: Callable[[], Vector], deviation: float, steps: int = 20) -> NoiseAudit:
    """Measure the noise of steps that have no unit in them.

    Args:
        release: runs one noise-only step through the real path and returns what it releases.
        deviation: claimed standard deviation of each value.
        steps: how many steps, at least 2.

    Source: the standard error of a deviation over N values is σ / √(2N).
    """
    noise_SP = np.stack([np.asarray(release(), dtype=np.float64) for _ in range(steps)])
    ratio = float(np.sqrt(np.mean(noise_SP**2)) / deviation)
    z = (ratio - 1) * math.sqrt(2 * noise_SP.size)
    gram = noise_SP @ noise_SP.T
    norms = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    correlation = np.abs(gram / np.outer(norms, norms))[np.triu_indices(steps, 1)]
    return NoiseAudit(ratio, z, float(correlation.max() * math.sqrt(noise_SP.shape[1])))


@dataclass(frozen=True)
class CanaryAudit:
    """What a canary showed that joins half of the steps.

    Args:
        mu: measured distance of the two score distributions, in standard deviations.
        standard_error: of mu.
        mu_claimed: 1 / σ.
        shift: how far the canary moves the sum along its direction.
        shift_limit: clipping norm plus ten standard errors.
        carry_z: how far a canary moves the step after it, in standard errors.
    """

    mu: float
    standard_error: float
    mu_claimed: float
    shift: float
    shift_limit: float
    carry_z: float

    @property
    def mu_lower(self) -> float:
        """Return a lower bound on μ, at 99.9 %."""
        return self.mu - CANARY_LIMIT_Z * self.standard_error

    @property
    def findings(self) -> tuple[str, ...]:
        """Return what is wrong, in words; empty where nothing is."""
        found = []
        if not self.mu_lower <= LEEWAY * self.mu_claimed:
            found.append(
                f"one unit can be told better than claimed: μ is at least {self.mu_lower:.3f}, "
                f"claimed {self.mu_claimed:.3f}"
            )
        if not self.shift <= self.shift_limit:
            found.append(
                f"one unit moves the sum by {self.shift:.3g}, more than {self.shift_limit:.3g}"
            )
        if not self.carry_z < PAIR_LIMIT_Z:
            found.append(f"a unit of one step moves the next (z = {self.carry_z:.1f})")
        return tuple(found)


def canary_audit(
    release: Callable[[bool], Vector],
    direction_P: Vector,
    coins: Sequence[bool],
    *,
    noise_multiplier: float,
    max_grad_norm: float,
) -> CanaryAudit:
    """Let a unit with a huge gradient join some of the steps, and see how well that shows.

    Args:
        release: runs one step through the real path, with or without the canary, on the same
            model, and returns the noised sum.
        direction_P: the canary's raw gradient; any length.
        coins: for each step whether the canary joins; see `coins_needed`.
        noise_multiplier: claimed σ.
        max_grad_norm: claimed clipping norm C.

    Source: the distance of two normal distributions and its standard error; the coin decides
    each step by itself, so the step after a canary must not know of it.
    """
    unit_P = np.asarray(direction_P, dtype=np.float64)
    unit_P = unit_P / np.linalg.norm(unit_P)
    score_N = np.array([float(np.asarray(release(coin), np.float64) @ unit_P) for coin in coins])
    joins_N = np.asarray(coins, dtype=bool)
    shift, deviation, scale = _shift(score_N, joins_N)
    mu = shift / deviation if deviation > 0 else math.inf
    standard_error = math.sqrt(scale**2 + mu**2 / (2 * len(score_N)))
    if not math.isfinite(mu):
        standard_error = 0.0
    slack = 10 * noise_multiplier * max_grad_norm / math.sqrt(len(score_N))
    carry_z = max(_carried(score_N, joins_N, now) for now in (False, True))
    limit = max_grad_norm + slack
    return CanaryAudit(mu, standard_error, 1 / noise_multiplier, shift, limit, carry_z)


def coins_needed(noise_multiplier: float) -> int:
    """Return how many steps find half the noise in 40 of 40 repetitions."""
    return math.ceil(300 + 300 * noise_multiplier**2)


def _carried(score_N: npt.NDArray[np.float64], joins_N: npt.NDArray[np.bool_], now: bool) -> float:
    """Return how far the step before moves the steps that have (or lack) the canary themselves."""
    chosen_N = joins_N[1:] == now
    shift, deviation, scale = _shift(score_N[1:][chosen_N], joins_N[:-1][chosen_N])
    if deviation == 0:
        return 0.0 if shift == 0 else math.inf
    return abs(shift) / (deviation * scale)


def _shift(
    score_N: npt.NDArray[np.float64], joins_N: npt.NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Return the difference of means, the pooled deviation, and √(1/n₁ + 1/n₀)."""
    with_canary, without = score_N[joins_N], score_N[~joins_N]
    if len(with_canary) < 2 or len(without) < 2:
        raise ConfigError("a canary audit needs more coins: two steps or more of each kind")
    squares = with_canary.var() * len(with_canary) + without.var() * len(without)
    deviation = math.sqrt(squares / (len(score_N) - 2))
    scale = math.sqrt(1 / len(with_canary) + 1 / len(without))
    return float(with_canary.mean() - without.mean()), deviation, scale
