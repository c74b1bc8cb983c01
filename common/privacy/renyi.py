"""The Rényi divergence of one step at whole orders, rounded up."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, logsumexp

ORDERS = (*range(2, 65), 80, 128, 256, 512, 1024)
"""Whole orders only: the series for fractional ones does not always converge."""


@dataclass(frozen=True, order=True)
class Rate:
    """The cost of one step: steps of equal rate are composed at once.

    Args:
        how: "poisson" (a unit joins with probability q), "mixture" (each of a person's
            `group` records does), "replace" (one unit's vector is replaced by another's).
        sampling_rate: q.
        noise_multiplier: σ.
        group: largest number of records of a person, for a mixture; else 1.
    """

    how: str
    sampling_rate: float
    noise_multiplier: float
    group: int = 1


@lru_cache(maxsize=256)
def rdp_of_one_step(rate: Rate) -> npt.NDArray[np.float64]:
    """Return the Rényi divergence of one step at ORDERS, rounded up.

    A step that replaces a vector: by joint convexity at most that of a Gaussian of twice
    the sensitivity, applied with probability q. A mixture: at most that of a step in which,
    with the probability that any record joins, all of them do.
    """
    orders = np.array(ORDERS)
    q, sigma = rate.sampling_rate, rate.noise_multiplier
    if rate.how == "replace":
        exponent = orders * (orders - 1) * 2 / sigma**2
        divergence = np.logaddexp(np.log1p(-q), np.log(q) + exponent) / (orders - 1)
    elif q == 1:
        divergence = orders * rate.group**2 / (2 * sigma**2)
    else:
        joins = -math.expm1(rate.group * math.log1p(-q))
        divergence = _log_moments(joins, sigma / rate.group) / (orders - 1)
    rounded: npt.NDArray[np.float64] = divergence * (1 + 1e-9) + 1e-12 / (orders - 1)
    return rounded


def _log_moments(q: float, sigma: float) -> npt.NDArray[np.float64]:
    """Return log E[(P/Q)^α] at ORDERS for the Poisson-sampled Gaussian.

    Source: Mironov, Talwar, Zhang 2019, equation for whole α (section 3.3).
    """
    k = np.arange(max(ORDERS) + 1)
    order = np.array(ORDERS)[:, None]
    log_choose = gammaln(order + 1) - gammaln(k + 1) - gammaln(np.maximum(order - k, 0) + 1)
    terms = (
        log_choose + (order - k) * math.log1p(-q) + k * math.log(q) + k * (k - 1) / (2 * sigma**2)
    )
    moments: npt.NDArray[np.float64] = logsumexp(np.where(k <= order, terms, -np.inf), axis=1)
    return np.maximum(moments, 0.0)
