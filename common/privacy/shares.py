"""Noise in shares: what h discrete Gaussian shares on a grid amount to, and which grid fits.

One step of `privacy.mode = distributed`: every site brings the clipped sum of its sampled
units to a grid (stochastic rounding), adds a discrete Gaussian share of standard deviation
σ·clip_units/√h, and sends the integers through a secure sum that guarantees h honest
contributors. docs/privacy.md has the proof that such a step is at most as costly as the
Gaussian mechanism with `bounding_noise_multiplier`, up to `step_slack`.

Source: Kairouz, Liu, Steinke, "The Distributed Discrete Gaussian Mechanism", ICML 2021
(Prop. 26 for the rounding); Peikert, "An Efficient and Parallel Gaussian Sampler for
Lattices", CRYPTO 2010 (Theorem 3.1 for the convolution).
"""

import math
from dataclasses import dataclass

from common.errors import ConfigError

ROUNDING_LOG2_BETA = 60
"""A step's rounding stretches the sensitivity beyond its bound with probability 2^-60 at most."""
SMOOTHING_VARIANCE = 4.0
"""Grid units² of variance that pass from the discrete to the continuous Gaussian in the bound."""
LEAST_SITE_SIGMA = 4.0
"""Least standard deviation of a site's share, in grid units."""
WANTED_INFLATION = 1.005
"""What rounding should add to the sensitivity at most."""
MOST_INFLATION = 1.05
"""What it may add where the noise is too wide for a finer grid; the accountant knows of it."""
MOST_SITE_SIGMA = 2.0**17
"""Largest standard deviation of a site's share, in grid units: the sampler's table ends there."""
TAIL_SIGMAS = 14
"""Where a share's table ends, in standard deviations: beyond lies less than 2^-140."""


@dataclass(frozen=True)
class ShareGrid:
    """Public parameters of a distributed step.

    Args:
        clip_units: clipping norm in grid units; one grid unit is max_grad_norm / clip_units.
        field_bits: signed bits of one value's field in a word of the secure sum (21 or 32).
        site_sigma: standard deviation of one site's share, in grid units.
        box: a site's clipped sum is projected onto |value| <= box, in grid units.
        limit: most that a site sends in a coordinate, noise included, in grid units.
    """

    clip_units: int
    field_bits: int
    site_sigma: float
    box: int
    limit: int


def sensitivity_units(clip_units: int, parameters: int) -> float:
    """Return the L2 sensitivity of the rounded sum in grid units, exceeded with probability 2^-60.

    Source: Kairouz et al. 2021, Prop. 26; the same roundings for both neighbours make the
    difference of two rounded sums a stochastic rounding of the difference.
    """
    root = math.sqrt(parameters)
    log_beta = ROUNDING_LOG2_BETA * math.log(2)
    likely = clip_units**2 + parameters / 4 + math.sqrt(2 * log_beta) * (clip_units + root / 2)
    return math.sqrt(min(likely, (clip_units + root) ** 2))


def bounding_noise_multiplier(
    noise_multiplier: float, clip_units: int, parameters: int, honest: int
) -> float:
    """Return σ of the continuous Gaussian mechanism that costs at least as much as one step.

    Guarantees: never above noise_multiplier. Zero where a share is too coarse for the bound
    (site σ under 4 grid units), so that the accountant says infinity.
    """
    sigma_units = noise_multiplier * clip_units
    if sigma_units / math.sqrt(honest) < LEAST_SITE_SIGMA:
        return 0.0
    continuous = math.sqrt(sigma_units**2 - SMOOTHING_VARIANCE)
    return continuous / sensitivity_units(clip_units, parameters)


def step_slack(parameters: int, honest: int) -> float:
    """Return a bound on the total variation between one step and what the bound accounts for.

    It covers the rounding (2^-60), the sampler (truncated tail and 128-bit table), the sum of
    h discrete Gaussians against one, and the smoothing of that one.
    """
    rounding = 2.0 ** (-ROUNDING_LOG2_BETA)
    sampler = parameters * honest * 2.0**-104
    convolution = parameters * 10 * honest * math.exp(-(math.pi**2) * LEAST_SITE_SIGMA**2)
    smoothing = parameters * 8 * math.exp(-2 * math.pi**2 * SMOOTHING_VARIANCE)
    return rounding + sampler + convolution + smoothing


def choose_grid(
    *, noise_multiplier: float, parameters: int, num_sites: int, honest: int, least_box: float = 4.0
) -> ShareGrid:
    """Choose grid and field width so that the bound holds and nothing can overflow.

    Args:
        noise_multiplier: σ of the sum of `honest` shares, in units of the clipping norm.
        parameters: number of values in the vector.
        num_sites: most sites in the sum.
        honest: number of honest contributors that the secure sum guarantees.
        least_box: smallest box, in clipping norms, that a coordinate of a site's sum is cut to.

    Raises:
        ConfigError: no grid fits: too little noise, too many sites, or too many parameters.
    """
    if noise_multiplier <= 0 or parameters < 1 or not 1 <= honest <= num_sites:
        raise ConfigError(
            "distributed noise: expected noise_multiplier > 0, parameters >= 1, "
            "1 <= honest <= num_sites; "
            f"found {noise_multiplier}, {parameters}, {honest}, {num_sites}"
        )
    clip_units = _clip_units(noise_multiplier, parameters, honest)
    site_sigma = noise_multiplier * clip_units / math.sqrt(honest)
    tail = tail_bound(site_sigma)
    for field_bits, largest in ((21, 2**20 - 1), (32, 2**31 - 1)):
        limit = largest // num_sites
        box = limit - tail
        if box >= least_box * clip_units:
            return ShareGrid(clip_units, field_bits, site_sigma, box, limit)
    raise ConfigError(
        f"distributed noise: {num_sites} sites with σ = {noise_multiplier:g} and {parameters} "
        f"parameters need more than 32 bits a value (grid of C/{clip_units}, tail {tail}); "
        "use fewer sites or less noise"
    )


def _clip_units(noise_multiplier: float, parameters: int, honest: int) -> int:
    """Return the coarsest grid that rounding hardly shows on; else the finest that can be drawn."""
    best = 0
    for exponent in range(6, 28):
        clip_units = 1 << exponent
        site_sigma = noise_multiplier * clip_units / math.sqrt(honest)
        if LEAST_SITE_SIGMA <= site_sigma <= MOST_SITE_SIGMA:
            best = clip_units
            if sensitivity_units(clip_units, parameters) <= WANTED_INFLATION * clip_units:
                return clip_units
    if best and sensitivity_units(best, parameters) <= MOST_INFLATION * best:
        return best
    raise ConfigError(
        f"distributed noise: no grid serves σ = {noise_multiplier:g}, {parameters} parameters "
        f"and {honest} honest sites; change the noise multiplier or use a smaller model"
    )


def tail_bound(sigma: float) -> int:
    """Return the largest value that a share of standard deviation `sigma` can take."""
    return math.ceil(TAIL_SIGMAS * sigma)
