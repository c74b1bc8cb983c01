"""Do units join by tosses of their own, as often as was charged?"""

import math

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from common.privacy.audit.check import Check
from common.privacy.audit.noise import NOISE_LIMIT_Z

ONE_SIDE = 3e-6
"""Chance of a false alarm on either side: as of 4.5 standard errors."""
LEAST_VARIANCE = 40.0
"""Below this variance of all tosses together, how the number varies cannot be judged."""


def sampling_checks(joined_NM: npt.NDArray[np.bool_], rate: float) -> tuple[Check, ...]:
    """Hold who joined which step against Poisson sampling.

    Args:
        joined_NM: which of the units joined which step.
        rate: q, in (0, 1).

    Returns: the rate; and how the number varies, where there are tosses enough.
    """
    tosses, joined = joined_NM.size, int(joined_NM.sum())
    low, high = binom.ppf(ONE_SIDE, tosses, rate), binom.isf(ONE_SIDE, tosses, rate)
    share = Check(
        "sampling rate",
        f"by how much {joined_NM.shape[1]} units join {len(joined_NM)} steps too often or seldom",
        abs(joined / tosses - rate),
        "at most",
        float(max(high - tosses * rate, tosses * rate - low)) / tosses,
        "units join more or less often than was charged",
    )
    if tosses * rate * (1 - rate) < LEAST_VARIANCE:
        return (share,)
    return share, _alone(joined_NM, rate)


def _alone(joined_NM: npt.NDArray[np.bool_], rate: float) -> Check:
    """Hold the variance of the number that join against Mq(1 − q).

    A fixed batch size has none, units that stand together have more.
    Source: Wilson, Hilferty 1931: the cube root of a variance is nearly normal; degrees of
    freedom are set by the kurtosis of the number.
    """
    steps, units = joined_NM.shape
    variance = units * rate * (1 - rate)
    ratio = float(np.mean((joined_NM.sum(1) - units * rate) ** 2)) / variance
    kurtosis = 3 + (1 - 6 * rate * (1 - rate)) / variance
    spread = 2 / 9 * (kurtosis - 1) / (2 * steps)
    return Check(
        "sampling alone",
        "how the number that join varies, in standard errors off tosses of their own",
        abs(ratio ** (1 / 3) - (1 - spread)) / math.sqrt(spread),
        "at most",
        NOISE_LIMIT_Z,
        "units do not join by tosses of their own: no Poisson sampling",
    )
