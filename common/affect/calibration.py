"""How far a model's probabilities lie from how often they come true, in ten public bins.

Per bin three integers are counted: answers, those that came true, and their probabilities, summed.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

BINS = 10
FIXED_POINT = 2**20
"""Log-losses and probabilities are summed as integers, in units of 2^-20."""


def calibration_lanes(sums: Sequence[str]) -> tuple[str, ...]:
    """Name the integers of the bins.

    Args:
        sums: what answers, those that came true, and their probabilities are called.
    """
    return tuple(f"{name}/{b}" for name in sums for b in range(BINS))


def calibration_counts(
    probability_K: NDArray[np.floating], came_true_K: NDArray[np.bool_]
) -> list[int]:
    """Count answers into the bins, in the order of `calibration_lanes`."""
    bin_K = np.minimum((probability_K * BINS).astype(np.int64), BINS - 1)
    return [
        *map(int, np.bincount(bin_K, minlength=BINS)),
        *map(int, np.bincount(bin_K[came_true_K], minlength=BINS)),
        *(fixed_point(probability_K[bin_K == b]) for b in range(BINS)),
    ]


def calibration_error(lanes: Mapping[str, int], sums: Sequence[str]) -> float:
    """Read the expected calibration error from summed lanes; there is at least one answer.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.
    """
    values = np.array([lanes[name] for name in calibration_lanes(sums)], dtype=np.float64)
    answers_B, came_true_B, probability_B = np.split(values, 3)
    return float(np.abs(came_true_B - probability_B / FIXED_POINT).sum() / answers_B.sum())


def fixed_point(values: NDArray[np.floating]) -> int:
    """Sum non-negative numbers as an integer in units of 2^-20."""
    return round(float(np.sum(values, dtype=np.float64)) * FIXED_POINT)
