"""Is there as much noise as was charged, and is it new in each step?"""

import math

import numpy as np
import numpy.typing as npt

from common.privacy.audit.check import Check

NOISE_LIMIT_Z = 4.5
"""Fewer than one false alarm in 200,000."""
PAIR_LIMIT_Z = 6.0
"""The same for the largest of a few hundred pairs."""
STEPS = 20
"""Noise-only steps that are looked at."""


def noise_checks(noise_SP: npt.NDArray[np.float32], deviation: float) -> tuple[Check, Check]:
    """Measure the noise of steps that have no unit in them.

    Args:
        noise_SP: what each step released; two steps or more.
        deviation: standard deviation that was charged for each value.

    Source: the standard error of a deviation over N values is σ / √(2N), that of a correlation
    1 / √N.
    """
    steps, values = noise_SP.shape
    gram_SS = _gram(noise_SP)
    ratio = math.sqrt(float(np.trace(gram_SS)) / noise_SP.size) / deviation
    norms_S = np.sqrt(np.maximum(np.diag(gram_SS), 1e-300))
    pairs = np.abs(gram_SS / np.outer(norms_S, norms_S))[np.triu_indices(steps, 1)]
    return (
        Check(
            "noise",
            f"noise of {steps} steps without anybody, in units of what was charged",
            ratio,
            "at least",
            1 - NOISE_LIMIT_Z / math.sqrt(2 * noise_SP.size),
            "there is less noise than was charged",
        ),
        Check(
            "fresh noise",
            f"largest correlation between the noise of two of {steps} steps",
            float(pairs.max()),
            "at most",
            PAIR_LIMIT_Z / math.sqrt(values),
            "two steps share noise: a difference of them is without it",
        ),
    )


def _gram(noise_SP: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return all products of two steps, added up in double precision piece by piece."""
    gram_SS = np.zeros((len(noise_SP), len(noise_SP)))
    for start in range(0, noise_SP.shape[1], 1 << 16):
        piece = noise_SP[:, start : start + (1 << 16)].astype(np.float64)
        gram_SS += piece @ piece.T
    return gram_SS
