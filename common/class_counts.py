"""How much of each target all training clips hold, from sums over sites; for balanced weights.

They travel with the model as the tensor `balance.counts`, as feature statistics do.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from common.parameters import Arrays
from common.sums import CLASS_COUNTS, FIXED_POINT

COUNTS = "balance.counts"
"""The tensor; its values are counts of clips, or sums of shares, by column of the targets."""


def counts_lane(y_NT: NDArray[np.float32]) -> dict[str, NDArray[np.int64]]:
    """One site's sums of targets over its training clips, in fixed point."""
    total_T = y_NT.sum(axis=0, dtype=np.float64)
    return {CLASS_COUNTS: np.rint(total_T * FIXED_POINT).astype(np.int64)}


def counts_from_lane(lanes: Mapping[str, NDArray[np.int64]]) -> Arrays:
    """The tensor that travels, from the summed lane; none where classes were not counted."""
    if CLASS_COUNTS not in lanes:
        return {}
    return {COUNTS: (np.maximum(lanes[CLASS_COUNTS], 0) / FIXED_POINT).astype(np.float32)}
