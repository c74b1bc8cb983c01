"""What a study would cost, before any data is touched."""

import math
from collections.abc import Callable, Sequence

from scipy.optimize import brentq
from scipy.stats import norm

from common.errors import ConfigError
from common.privacy import accountant
from common.privacy.accountant import Cost
from common.privacy.events import (
    Event,
    ExactThroughSecureSum,
    PoissonSampledGaussian,
    Unit,
)

SIGMA_DECIMALS = 4
"""A calibrated noise multiplier is rounded up to this many decimals: it is public and signed."""
SMALLEST_SIGMA = 0.01
LARGEST_SIGMA = 1e5
MOST_STEPS = 10**7


def epsilon(
    noise_multiplier: float, target_delta: float, sampling_rate: float, steps: int
) -> float:
    """Return ε of `steps` Poisson-sampled Gaussian sums at `target_delta`, for the unit sampled."""
    return accountant.epsilon_of(_cost(noise_multiplier, sampling_rate, steps), target_delta)


def calibrate(
    target_epsilon: float, target_delta: float, sampling_rate: float, steps: int
) -> float:
    """Return the least noise multiplier, rounded up, that keeps a whole run within its budget.

    Args:
        target_epsilon: ε of the whole run, above 0.
        target_delta: δ of the whole run, above 0 and below 1.
        sampling_rate: q, in (0, 1].
        steps: Poisson-sampled sums in the whole run, at least 1.

    Raises:
        ConfigError: an argument is out of range, or no noise multiplier from 0.01 to 1e5 fits.

    Guarantees: epsilon(result, …) <= target_epsilon, and no more than 1e-3 relative too much.
    """
    _check(target_epsilon, target_delta, sampling_rate, steps)

    def excess(log_sigma: float) -> float:
        spent = epsilon(math.exp(log_sigma), target_delta, sampling_rate, steps)
        return math.log(min(max(spent, 1e-9), 1e9) / target_epsilon)

    guess = sampling_rate * math.sqrt(steps) / gaussian_mu(target_epsilon, target_delta)
    low, high = _bracket(excess, math.log(max(guess, 0.2)))
    sigma = _rounded_up(math.exp(brentq(excess, low, high, xtol=3e-4)))
    while epsilon(sigma, target_delta, sampling_rate, steps) > target_epsilon:
        sigma = _rounded_up(sigma * (1 + 2e-4))
    return sigma


def _bracket(excess: Callable[[float], float], start: float) -> tuple[float, float]:
    """Return logarithms of two noise multipliers, one too small and one large enough."""
    step = 0.15 if excess(start) > 0 else -0.15
    here, there = start, start + step
    while (excess(there) > 0) == (step > 0):
        here, there, step = there, there + 2 * step, 2 * step
        if not math.log(SMALLEST_SIGMA) < there < math.log(LARGEST_SIGMA):
            raise ConfigError(
                f"privacy: no noise multiplier from {SMALLEST_SIGMA:g} to {LARGEST_SIGMA:g} "
                "meets this ε exactly; change target_epsilon, target_delta or the steps"
            )
    return min(here, there), max(here, there)


def _rounded_up(sigma: float) -> float:
    scale = 10**SIGMA_DECIMALS
    return float(math.ceil(sigma * scale) / scale)


def affordable_rounds(
    history: Sequence[Event],
    one_round: Event,
    cap: float,
    delta: float,
    unit: Unit,
    records_per_person: int | None = None,
) -> int | None:
    """Return how many more rounds like `one_round` a cap allows after a history.

    Returns: None where no number of them would meet the cap: there is none, or they cost nothing.
    """
    if math.isinf(cap) or isinstance(one_round, ExactThroughSecureSum) or not one_round.steps:
        return None

    def cost(rounds: int) -> Cost:
        more = one_round.with_steps(rounds * one_round.steps)
        return accountant.merge([*history, more], unit, records_per_person)

    return _most_within(cost, cap, delta)


def _most_within(cost: Callable[[int], Cost], cap: float, delta: float) -> int:
    """Return the largest number whose cost is within a cap; by Rényi DP first, since it is fast."""

    def by_rdp(number: int) -> bool:
        return accountant.rdp_epsilon_of(cost(number), delta) <= cap

    def exactly(number: int) -> bool:
        return accountant.epsilon_of(cost(number), delta) <= cap

    return _largest(exactly, _largest(by_rdp, 0))


def _largest(is_within: Callable[[int], bool], low: int) -> int:
    """Return the largest number that is within, from `low` on, up to about MOST_STEPS."""
    step = max(1, low // 16)
    while low < MOST_STEPS and is_within(low + step):
        low, step = low + step, 2 * step
    high = low + step
    while high - low > 1 and low < MOST_STEPS:
        middle = (low + high) // 2
        low, high = (middle, high) if is_within(middle) else (low, middle)
    return low


def check_delta(target_delta: float, persons: int) -> bool:
    """Refuse a δ that could give away whole persons; tell whether it is as small as it should be.

    Args:
        target_delta: δ of the run.
        persons: persons at the site, as it declares them.

    Returns: whether δ is at most 1 / (10 × persons).

    Raises:
        ConfigError: δ is above 1 / persons: releasing one person's data whole would be allowed.
    """
    if persons < 1 or not 0 < target_delta <= 1 / persons:
        raise ConfigError(
            f"privacy.target_delta: expected at most 1/{10 * max(persons, 1)} for {persons} "
            f"persons, found {target_delta:g}; above 1/persons it protects nobody"
        )
    return target_delta <= 1 / (10 * persons)


def right_guesses(epsilon: float, delta: float) -> int:
    """Return of how many of 100 guesses, at most, an onlooker can be right that a unit took part.

    The guesser flips a fair coin for the unit's presence and sees everything released. The
    bound is that of the Gaussian mechanism whose (ε, δ) this is: Φ(μ/2). Where ε is too
    large for that, nothing is claimed: 100.
    """
    if math.isinf(epsilon):
        return 100
    return min(100, math.ceil(100 * float(norm.cdf(gaussian_mu(epsilon, delta) / 2))))


def gaussian_mu(epsilon: float, delta: float) -> float:
    """Return μ of the Gaussian mechanism that is exactly (ε, δ) private.

    Source: Balle and Wang 2018, Theorem 8; Dong, Roth, Su 2022, Corollary 2.13.
    """
    low, high = 0.0, 1.0
    while _gaussian_delta(high, epsilon) < delta and high < 1e4:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _gaussian_delta(middle, epsilon) < delta else (low, middle)
    return high


def _gaussian_delta(mu: float, epsilon: float) -> float:
    if mu == 0:
        return 0.0
    below = norm.logcdf(-epsilon / mu - mu / 2)
    return float(norm.cdf(-epsilon / mu + mu / 2) - math.exp(min(epsilon + below, 0.0)))


def _cost(noise_multiplier: float, sampling_rate: float, steps: int) -> Cost:
    event = PoissonSampledGaussian(sampling_rate, noise_multiplier, steps, "person")
    return accountant.merge([event])


def _check(epsilon: float, delta: float, sampling_rate: float, steps: int) -> None:
    if not (epsilon > 0 and 0 < delta < 1 and 0 < sampling_rate <= 1 and steps >= 1):
        raise ConfigError(
            "privacy: expected target_epsilon > 0, 0 < target_delta < 1, 0 < sampling_rate <= 1 "
            f"and steps >= 1; found {epsilon}, {delta}, {sampling_rate}, {steps}"
        )
