"""Sampler of discrete Gaussian shares, and the rounding that brings a sum to their grid."""

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from common.compiled import compiled
from common.errors import PrivacyError
from common.privacy.mechanism import CryptoStream
from common.privacy.shares import MOST_SITE_SIGMA, TAIL_SIGMAS, tail_bound

GUIDE_LOG2 = 16
"""Bits of a word that say where in the table to look for it."""
PIECE = 1 << 15
"""Values drawn at once: what they take stays in a core's cache."""


@dataclass(frozen=True)
class DiscreteGaussianTable:
    """Cumulative probabilities of a truncated discrete Gaussian, to 128 bits.

    Args:
        sigma: standard deviation parameter, in grid units.
        high: upper 64 bits of each cumulative probability.
        low: lower 64 bits.
        guide: how many entries of `high` lie below each multiple of 2^48, up to 2^64.
        total_variation: bound on the distance of one drawn value from the discrete Gaussian.
    """

    sigma: float
    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]
    guide: npt.NDArray[np.int64]
    total_variation: float

    @property
    def bound(self) -> int:
        """Return the largest value in the table."""
        return len(self.high) // 2


@lru_cache(maxsize=8)
def discrete_gaussian_table(sigma: float) -> DiscreteGaussianTable:
    """Build the table with integers only, so that every machine gets the same one.

    Args:
        sigma: standard deviation parameter in grid units, 0.5 to 2^17.

    Raises:
        PrivacyError: sigma is outside that range.
    """
    if not 0.5 <= sigma <= MOST_SITE_SIGMA:
        raise PrivacyError(f"discrete Gaussian: expected 0.5 <= sigma <= 2^17, found {sigma}")
    bound = tail_bound(sigma)
    half = _half_weights(sigma, bound)
    weights = half[:0:-1] + half
    total = sum(weights)
    cumulative, running = [], 0
    for weight in weights:
        running += weight
        cumulative.append(min((running << 128) // total, 2**128 - 1))
    cumulative[-1] = 2**128 - 1
    high = np.array([value >> 64 for value in cumulative], dtype=np.uint64)
    low = np.array([value & (2**64 - 1) for value in cumulative], dtype=np.uint64)
    tail = 2 * math.exp(-(TAIL_SIGMAS**2) / 2)
    starts = np.arange(1 << GUIDE_LOG2, dtype=np.uint64) << np.uint64(64 - GUIDE_LOG2)
    guide = np.append(np.searchsorted(high, starts, side="left"), len(high)).astype(np.int64)
    return DiscreteGaussianTable(sigma, high, low, guide, tail + len(weights) * 2.0**-127)


def _half_weights(sigma: float, bound: int) -> list[int]:
    """Return exp(-k²/2σ²) for k = 0 … bound as integers over 2^320.

    exp(-(k+1)²/2σ²) is the value before it times r·s^k, with r = exp(-1/2σ²) and s = r².
    """
    with localcontext() as context:
        context.prec = 120
        variance = Fraction(sigma) ** 2
        exact = Decimal(variance.numerator) / Decimal(variance.denominator)
        ratio = int((Decimal(-1) / (2 * exact)).exp() * (1 << 320))
    square = (ratio * ratio) >> 320
    weights, value = [], 1 << 320
    for _ in range(bound + 1):
        weights.append(value)
        value = (value * ratio) >> 320
        ratio = (ratio * square) >> 320
    return weights


def sample_share(
    stream: CryptoStream, size: int, table: DiscreteGaussianTable
) -> npt.NDArray[np.int64]:
    """Draw `size` values of the table's discrete Gaussian.

    Guarantees: a value is fixed by its first 64 bits unless they meet a table entry exactly
    (about entries · 2^-64 of draws); then 64 more bits decide, so the table counts to 128 bits.
    """
    index_P = np.empty(size, np.int64)
    for start in range(0, size, PIECE):
        words, index = stream.words(min(PIECE, size - start)), index_P[start : start + PIECE]
        if look_up(words, table.high, table.guide, index):
            for position in np.flatnonzero(table.high[index] == words):
                index[position] = _resolve(stream, int(words[position]), table)
    index_P -= table.bound
    return index_P


@compiled
def look_up(
    words: npt.NDArray[np.uint64],
    high: npt.NDArray[np.uint64],
    guide: npt.NDArray[np.int64],
    out: npt.NDArray[np.int64],
) -> int:
    """Find the first entry that is not below each word; return how many words meet theirs exactly.

    Args:
        words: uniform on 64 bits.
        high: entries in ascending order, the last one 2^64 - 1.
        guide: as in the table.
        out: takes the entries' places.
    """
    ties = 0
    for n in range(words.size):
        word = words[n]
        bucket = np.int64(word >> np.uint64(64 - GUIDE_LOG2))
        first, last = guide[bucket], guide[bucket + 1]
        while first < last:
            middle = (first + last) // 2
            if high[middle] < word:
                first = middle + 1
            else:
                last = middle
        out[n] = first
        ties += high[first] == word
    return ties


def _resolve(stream: CryptoStream, high: int, table: DiscreteGaussianTable) -> int:
    low = int(stream.words(1)[0])
    index = int(np.searchsorted(table.high, np.uint64(high), side="left"))
    while (int(table.high[index]), int(table.low[index])) <= (high, low):
        if index == len(table.high) - 1:
            break
        index += 1
    return index


def round_to_grid(
    stream: CryptoStream, values_P: npt.NDArray[np.float64], box: int
) -> npt.NDArray[np.int64]:
    """Cut values (in grid units) to the box and round them stochastically to whole units.

    Guarantees: unbiased inside the box; never outside it; NaN is refused.

    Raises:
        PrivacyError: a value is not finite.
    """
    if not np.isfinite(values_P).all():
        raise PrivacyError("distributed noise: the clipped sum holds values that are not finite")
    cut_P = np.clip(values_P, -box, box)
    floor_P = np.floor(cut_P)
    up_P = stream.uniform(values_P.size).reshape(values_P.shape) < cut_P - floor_P
    return floor_P.astype(np.int64) + up_P
