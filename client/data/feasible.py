"""Whether a target ε can be met with so many persons, and what noise that would take."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from client.budget.asking import PARAMETERS, setting_from
from client.budget.planning import planned
from common.errors import ConfigError

EPSILONS = (1.0, 3.0, 8.0)
SITES = 6
MOST_DELTA = 1e-3


@dataclass(frozen=True)
class Feasible:
    """One ε per person over a run of the defaults, with noise shared between the sites.

    Args:
        target_epsilon: ε of the whole run.
        delta: δ that was taken: a tenth of one over the persons, at most 10⁻³.
        noise_multiplier: σ; NaN where no noise meets the target.
        noise_to_signal: over the run, for a model of 10,000 trained values.
        said: what noise of that size did to studies that were measured.
    """

    target_epsilon: float
    delta: float
    noise_multiplier: float
    noise_to_signal: float
    said: str


def feasible(
    persons: int, sites: int = SITES, targets: Sequence[float] = EPSILONS
) -> tuple[Feasible, ...]:
    """Plan each ε for sites that all have so many persons to train on.

    Raises:
        ConfigError: a target is not above 0, or there are fewer than three sites.
    """
    if any(not 0 < target < math.inf for target in targets):
        raise ConfigError("--epsilon: expected a number above 0.")
    if sites < 3:
        raise ConfigError("--sites: expected 3 or more; fewer make no secure sum.")
    return tuple(_one(persons, sites, target) for target in targets) if persons else ()


def _one(persons: int, sites: int, target: float) -> Feasible:
    delta = min(MOST_DELTA, 1 / (10 * persons))
    setting = setting_from(
        None, persons, sites, PARAMETERS, {"mode": "distributed", "target_delta": delta}
    )
    try:
        row = planned(setting, target)
    except ConfigError:
        return Feasible(target, delta, math.nan, math.nan, "no noise meets this ε")
    ratio = math.nan if row.noise_to_signal is None else row.noise_to_signal
    parts = [
        f"{word} noise: {one.study} kept {max(one.kept, 0):.0%} of its gain over chance"
        for word, one in (("less", row.less_noise), ("more", row.more_noise))
        if one
    ]
    return Feasible(target, delta, row.noise_multiplier, ratio, "; ".join(parts))
