"""Sums over persons of a few integers and of their products: all that an interval by person needs.

A person i has k integers v_i. A site contributes n, Σ v_i and the upper triangle of Σ v_i v_iᵀ.
Totals over sites are those of all persons together, so a person must be at one site only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from scipy import stats

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Lanes = dict[str, int]
Statistic = Callable[[NDArray[np.complex128]], complex]

STEP = 1e-30


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval.

    Args:
        value: the figure.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Moments:
    """Totals over persons.

    Args:
        persons: number of persons n.
        sum_K: Σ v_i.
        product_KK: Σ v_i v_iᵀ.
    """

    persons: int
    sum_K: FloatArray
    product_KK: FloatArray


def moment_lanes(prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Name the lanes: persons, one sum per name, one product per pair of names."""
    products = (f"{prefix}product/{a}*{b}" for a, b in combinations_with_replacement(names, 2))
    return (f"{prefix}persons", *(f"{prefix}sum/{name}" for name in names), *products)


def moment_counts(prefix: str, names: tuple[str, ...], person_PK: IntArray) -> Lanes:
    """Fill the lanes from one row of integers per person."""
    product_KK = person_PK.T @ person_PK
    values = [len(person_PK), *person_PK.sum(axis=0), *product_KK[np.triu_indices(len(names))]]
    return dict(zip(moment_lanes(prefix, names), map(int, values), strict=True))


def read_moments(prefix: str, names: tuple[str, ...], lanes: Mapping[str, int]) -> Moments:
    """Read the totals back from the lanes."""
    values = np.array([lanes[lane] for lane in moment_lanes(prefix, names)], dtype=np.float64)
    size = len(names)
    upper_KK = np.zeros((size, size))
    upper_KK[np.triu_indices(size)] = values[1 + size :]
    product_KK = upper_KK + np.triu(upper_KK, 1).T
    return Moments(int(values[0]), values[1 : 1 + size], product_KK)


def estimate(
    statistic: Statistic, moments: Moments, confidence: float, bounds: tuple[float, float]
) -> Estimate:
    """Evaluate a smooth function of the sums, with its interval by person.

    The variance is the delta method's: n/(n-1) gᵀ Σ(v_i - v̄)(v_i - v̄)ᵀ g, with g the gradient of
    the statistic at Σ v_i; the interval takes the t quantile with n-1 degrees of freedom and
    ends at the bounds.

    Edge cases: fewer than two persons say nothing about persons, so the interval is the bounds.
    Persons who are all alike give an interval of no width: read it together with their number.

    Source: Liang and Zeger, Longitudinal data analysis using generalized linear models,
    Biometrika 1986 (variance by cluster); Squire and Trapp, Using Complex Variables to Estimate
    Derivatives of Real Functions, SIAM Review 1998 (the gradient).
    """
    value = float(np.real(statistic(moments.sum_K.astype(np.complex128))))
    n = moments.persons
    if n < 2:
        return Estimate(value, *bounds)
    scatter_KK = moments.product_KK - np.outer(moments.sum_K, moments.sum_K) / n
    gradient_K = _gradient(statistic, moments.sum_K)
    variance = max(0.0, float(gradient_K @ scatter_KK @ gradient_K)) * n / (n - 1)
    half = float(stats.t.ppf(0.5 + confidence / 2, df=n - 1)) * variance**0.5
    return Estimate(value, max(bounds[0], value - half), min(bounds[1], value + half))


def _gradient(statistic: Statistic, at_K: FloatArray) -> FloatArray:
    steps_KK = at_K + 1j * STEP * np.eye(len(at_K))
    return np.array([np.imag(statistic(step_K)) / STEP for step_K in steps_KK])
