"""What the events cost: ε by privacy-loss distributions, with Rényi DP as gate and fallback.

Both are upper bounds under adding or removing one unit, so the smaller one is returned.
Events are merged by what they cost (`Rate`) before they are composed, so the answer takes
the same time whatever the number of rounds.

Units: a history may hold events of both units. Seen by a person, a step that samples records
is a mixture of Gaussians, one for each number of that person's records in the step (needs the
largest number of records of a person; without it, infinity). Seen by a record, a step that
samples persons replaces that person's vector by another within the clipping norm.

Source: Koskela et al. 2020 and Doroshenko et al. 2022 (PLD, connecting the dots) and
Choquette-Choo et al. 2024 (mixtures), all through dp_accounting; Mironov et al. 2019 (RDP).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import starmap

import numpy as np
from dp_accounting import NeighboringRelation
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import rdp_privacy_accountant as rdp
from scipy.stats import binom

from common.errors import PrivacyError
from common.privacy.events import (
    DiscreteGaussianShare,
    Event,
    ExactThroughSecureSum,
    Gaussian,
    Unit,
    bounding_multiplier,
)
from common.privacy.renyi import ORDERS, Rate, rdp_of_one_step
from common.privacy.shares import step_slack

INTERVAL = 1e-3
"""Width of a cell of the privacy-loss distributions."""
LARGEST_PLD_EPSILON = 300.0
"""Beyond this ε by Rényi DP the answer is that one: the exact figure tells nobody anything."""
SMALLEST_PLD_DELTA = 1e-9
"""Below this δ the rounding of the convolutions shows; the answer is the one by Rényi DP."""
LEAST_NOISE_MULTIPLIER, MOST_NOISE_MULTIPLIER = 1e-3, 1e3
"""Less noise bounds no loss that means anything, and underflows; more counts as this much."""
LEAST_SAMPLING_RATE = 1e-6
"""A smaller rate counts as this one: its chances would underflow."""
MANY_STEPS = 100_000
"""Beyond so many steps, losses that are smaller than a cell are left to Rényi DP: see below."""


@dataclass(frozen=True)
class Cost:
    """A merged history: how many steps at which rate, and the slack to take off δ.

    Args:
        steps: pairs of rate and number of steps, sorted by rate.
        slack: bound on the total variation that the rates leave out, over all steps.
        is_unbounded: nothing bounds the loss: σ is 0 or next to it, or the number of records is
            unknown.
    """

    steps: tuple[tuple[Rate, int], ...]
    slack: float = 0.0
    is_unbounded: bool = False


def merge(
    events: Iterable[Event], unit: Unit = "person", records_per_person: int | None = None
) -> Cost:
    """Merge events by equal rate, as one unit sees them.

    Args:
        events: what happened, in any order.
        unit: whose privacy is asked for.
        records_per_person: most records of one person at the site, where events of the unit
            "record" are to be seen by a person.
    """
    steps: Counter[Rate] = Counter()
    slack = 0.0
    for event in events:
        if isinstance(event, ExactThroughSecureSum) or event.steps == 0:
            continue
        steps[_rate(event, unit, records_per_person)] += event.steps
        slack += event.steps * _slack(event)
    if any(rate.noise_multiplier < LEAST_NOISE_MULTIPLIER for rate in steps):
        return Cost(tuple(sorted(steps.items())), slack, is_unbounded=True)
    return Cost(_simplified(steps), slack)


def epsilon(
    events: Iterable[Event],
    delta: float,
    unit: Unit = "person",
    records_per_person: int | None = None,
) -> float:
    """Return the authoritative ε at `delta` of everything that happened.

    Args:
        events: what happened, in any order.
        delta: δ, above 0 and below 1.
        unit: whose privacy is asked for.
        records_per_person: see `merge`.

    Raises:
        PrivacyError: δ is out of range.

    Guarantees: never below the true ε; 0 for an empty history; infinity where σ is 0.
    """
    return epsilon_of(merge(events, unit, records_per_person), delta)


def epsilon_of(cost: Cost, delta: float) -> float:
    """Return the authoritative ε at `delta` of a merged history; see `epsilon`."""
    by_rdp = rdp_epsilon_of(cost, delta)
    if by_rdp == 0 or delta < SMALLEST_PLD_DELTA or _is_too_large(cost, by_rdp):
        return by_rdp
    if _is_below_a_cell(cost):
        return by_rdp
    distribution = _composed(cost.steps)
    return min(by_rdp, _less_slack(distribution.get_epsilon_for_delta, cost.slack, delta))


def rdp_epsilon(
    events: Iterable[Event],
    delta: float,
    unit: Unit = "person",
    records_per_person: int | None = None,
) -> float:
    """Return ε by Rényi DP: a fast upper bound, some per cent above `epsilon`."""
    return rdp_epsilon_of(merge(events, unit, records_per_person), delta)


def rdp_epsilon_of(cost: Cost, delta: float) -> float:
    """Return ε by Rényi DP of a merged history; see `rdp_epsilon`."""
    if not 0 < delta < 1:
        raise PrivacyError(f"δ: expected a number above 0 and below 1, found {delta}")
    if cost.is_unbounded:
        return math.inf
    if not cost.steps:
        return 0.0
    total = np.sum([steps * rdp_of_one_step(rate) for rate, steps in cost.steps], axis=0)
    if not np.isfinite(total).any() or np.isnan(total).any():
        return math.inf
    return _less_slack(
        lambda at: float(rdp.compute_epsilon(ORDERS, total, at)[0]), cost.slack, delta
    )


def delta_of(cost: Cost, epsilon: float) -> float:
    """Return δ at `epsilon` of a merged history: a point of its trade-off curve."""
    return deltas_of(cost, [epsilon])[0]


def deltas_of(cost: Cost, epsilons: Sequence[float]) -> tuple[float, ...]:
    """Return δ at each ε of a merged history; 1 where nothing bounds it or ε is beyond telling."""
    if not cost.steps and not cost.is_unbounded:
        return (0.0,) * len(epsilons)
    if cost.is_unbounded or _is_too_large(cost, rdp_epsilon_of(cost, 1e-5)):
        return (1.0,) * len(epsilons)
    exact = _composed(cost.steps).get_delta_for_epsilon(list(epsilons))
    slack = [(1 + math.exp(min(epsilon, 700.0))) * cost.slack for epsilon in epsilons]
    return tuple(min(1.0, float(d) + more) for d, more in zip(exact, slack, strict=True))


def _rate(event: Event, unit: Unit, records_per_person: int | None) -> Rate:
    """Return what one step of the event costs a unit."""
    if isinstance(event, ExactThroughSecureSum):
        raise PrivacyError("an exact release has no rate")
    sampling_rate = 1.0 if isinstance(event, Gaussian) else event.sampling_rate
    sampling_rate = max(sampling_rate, LEAST_SAMPLING_RATE)
    noise_multiplier = min(bounding_multiplier(event), MOST_NOISE_MULTIPLIER)
    if event.unit == unit:
        return Rate("poisson", sampling_rate, noise_multiplier)
    if unit == "record":
        return Rate("replace", sampling_rate, noise_multiplier)
    if records_per_person is None:
        return Rate("mixture", sampling_rate, 0.0)
    return Rate("mixture", sampling_rate, noise_multiplier, records_per_person)


def _simplified(steps: Counter[Rate]) -> tuple[tuple[Rate, int], ...]:
    """Compose everything that is not sampled into one Gaussian, in closed form."""
    kept: Counter[Rate] = Counter()
    precision = 0.0
    for rate, count in steps.items():
        if rate.sampling_rate < 1:
            kept[rate] = count
        else:
            stretch = 2 if rate.how == "replace" else rate.group
            precision += count * (stretch / rate.noise_multiplier) ** 2
    if precision:
        kept[Rate("poisson", 1.0, 1 / math.sqrt(precision))] += 1
    return tuple(sorted(kept.items()))


def _slack(event: Event) -> float:
    if isinstance(event, DiscreteGaussianShare):
        return step_slack(event.parameters, event.honest)
    return 0.0


def _is_too_large(cost: Cost, by_rdp: float) -> bool:
    """Tell whether the distributions would span more cells than an answer is worth."""
    if by_rdp <= LARGEST_PLD_EPSILON or cost.is_unbounded:
        return cost.is_unbounded
    mixtures = [(rate, steps) for rate, steps in cost.steps if rate.how == "mixture"]
    return (
        len(mixtures) < len(cost.steps) or sum(starmap(_mean_loss, mixtures)) > LARGEST_PLD_EPSILON
    )


def _is_below_a_cell(cost: Cost) -> bool:
    """Tell whether rounding to cells would outweigh the losses themselves, over very many steps.

    The loss of a step has standard deviation q √(e^(1/σ²) - 1), rounding adds up to half a cell.
    """
    steps = sum(count for _, count in cost.steps)
    return steps > MANY_STEPS and all(
        rate.how == "poisson"
        and rate.sampling_rate**2 * math.expm1(min(rate.noise_multiplier**-2, 700))
        < INTERVAL**2 / 4
        for rate, _ in cost.steps
    )


def _mean_loss(rate: Rate, steps: int) -> float:
    """Estimate the mean privacy loss of a mixture: E[S²] / 2σ² for S records in a step."""
    mean = rate.group * rate.sampling_rate
    return steps * (mean**2 + mean * (1 - rate.sampling_rate)) / (2 * rate.noise_multiplier**2)


def _less_slack(at_delta: Callable[[float], float], slack: float, delta: float) -> float:
    """Return an ε that holds at `delta` for everything within total variation `slack`.

    If M is (ε, δ') private and M' is within τ of M on every input, M' is
    (ε, δ' + (1 + e^ε) τ) private.
    """
    if slack == 0:
        return float(at_delta(delta))
    limit = float(at_delta(delta)) + 1e-6
    for _ in range(40):
        rest = delta - (1 + math.exp(min(limit, 700.0))) * slack
        if rest <= 0:
            return math.inf
        found = float(at_delta(rest))
        if found <= limit:
            return found
        limit = found + (found - limit)
    return math.inf


@lru_cache(maxsize=64)
def _one_step(rate: Rate) -> pld.PrivacyLossDistribution:
    if rate.how == "mixture":
        joining = np.arange(rate.group + 1)
        chances = binom.pmf(joining, rate.group, rate.sampling_rate)
        return pld.from_mixture_gaussian_mechanism(
            rate.noise_multiplier,
            joining.astype(float),
            chances / chances.sum(),
            value_discretization_interval=INTERVAL,
        )
    replaced = NeighboringRelation.REPLACE_ONE
    added = NeighboringRelation.ADD_OR_REMOVE_ONE
    return pld.from_gaussian_mechanism(
        rate.noise_multiplier,
        value_discretization_interval=INTERVAL,
        sampling_prob=rate.sampling_rate,
        neighboring_relation=replaced if rate.how == "replace" else added,
    )


@lru_cache(maxsize=64)
def _self_composed(rate: Rate, steps: int) -> pld.PrivacyLossDistribution:
    return _one_step(rate).self_compose(steps) if steps > 1 else _one_step(rate)


def _composed(steps: tuple[tuple[Rate, int], ...]) -> pld.PrivacyLossDistribution:
    return reduce(lambda left, right: left.compose(right), starmap(_self_composed, steps))
