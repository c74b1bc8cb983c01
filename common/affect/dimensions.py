"""CCC and mean squared error of valence, arousal and the like, from summed integers.

A prediction and a rating are places in the dimension's declared range, 0 to 1; both are cut to it
and brought to a grid of 2^10 steps around its middle. The sums of 1, x, y, x², y² and xy over
clips are exact integers on that grid and give both figures. For their intervals each person's six
sums are rounded to 2^-10 and enter as moments by person (see moments): rounding there moves an
interval by less than its last digit, and keeps the products of sums within their lanes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.affect.classes import CONFIDENCE, sum_by_person
from common.affect.moments import (
    Estimate,
    IntArray,
    Lanes,
    Moments,
    estimate,
    moment_counts,
    moment_lanes,
    read_moments,
)
from common.errors import ConfigError, DataError

STEPS = 2**10
"""Steps of the grid over a dimension's range; also the unit of a person's sums."""
SUMS = ("n", "x", "y", "xx", "yy", "xy")
SQUARES = np.array([1, STEPS, STEPS, STEPS**2, STEPS**2, STEPS**2])
"""Grid units of each sum."""


@dataclass(frozen=True)
class DimensionMetrics:
    """What a model reached on one dimension.

    Args:
        ccc: concordance correlation coefficient, -1 to 1; 0 where nothing varies.
        mse: mean squared error, in the target's unit squared.
        variance: of the ratings, in that unit squared: the error of always saying their mean.
        persons: persons evaluated.
        clips: clips evaluated: those with a rating.
    """

    ccc: Estimate
    mse: Estimate
    variance: float
    persons: int
    clips: int


def dimension_lanes(dimensions: tuple[str, ...]) -> tuple[str, ...]:
    """Name the integers that a site contributes for these dimensions, in their order."""
    return tuple(
        lane
        for name in dimensions
        for lane in (*moment_lanes(_prefix(name), SUMS), *grid_lanes(_prefix(name)))
    )


def grid_lanes(prefix: str) -> tuple[str, ...]:
    """Name the exact sums over clips."""
    return tuple(f"{prefix}grid/{name}" for name in SUMS)


def dimension_counts(
    prediction_ND: NDArray[np.floating],
    target_ND: NDArray[np.floating],
    person_N: IntArray,
    dimensions: tuple[str, ...],
) -> Lanes:
    """Count one site's predictions into the lanes; a clip whose target is NaN is left out.

    Args:
        prediction_ND: places in the range, 0 to 1; cut to it.
        target_ND: likewise; NaN where nobody rated.
        person_N: whose clip it is.
        dimensions: their names, in the order of the columns.

    Raises:
        ConfigError: if a prediction is not finite.
    """
    if not np.isfinite(prediction_ND).all():
        raise ConfigError(
            "evaluation: expected finite predictions, found NaN or infinity: the model has "
            "diverged; lower training.learning_rate"
        )
    lanes: Lanes = {}
    for column, name in enumerate(dimensions):
        rated_N = np.isfinite(target_ND[:, column])
        grid_NK = grid_sums(prediction_ND[rated_N, column], target_ND[rated_N, column])
        by_person_PK = sum_by_person(grid_NK, person_N[rated_N])
        rounded_PK = np.rint(by_person_PK * (STEPS / SQUARES)).astype(np.int64)
        lanes |= moment_counts(_prefix(name), SUMS, rounded_PK)
        lanes |= dict(zip(grid_lanes(_prefix(name)), map(int, grid_NK.sum(axis=0)), strict=True))
    return lanes


def grid_sums(x_N: NDArray[np.floating], y_N: NDArray[np.floating]) -> IntArray:
    """Return each clip's 1, x, y, x², y², xy in whole steps of the grid."""
    x_N, y_N = (np.rint((np.clip(v_N, 0, 1) - 0.5) * STEPS).astype(np.int64) for v_N in (x_N, y_N))
    return np.stack([np.ones_like(x_N), x_N, y_N, x_N**2, y_N**2, x_N * y_N], axis=1)


def dimension_metrics(
    lanes: Mapping[str, int], spans: Mapping[str, float], confidence: float = CONFIDENCE
) -> dict[str, DimensionMetrics]:
    """Read each dimension's figures from the lanes summed over sites; those without clips fail.

    Args:
        lanes: the sums.
        spans: dimension -> length of its range.
        confidence: coverage of the intervals.

    Raises:
        DataError: if a dimension has no clip.
    """
    return {name: _read(lanes, name, span, confidence) for name, span in spans.items()}


def rated_clips(lanes: Mapping[str, int], name: str) -> int:
    """How many clips have a rating on a dimension."""
    return lanes[f"{_prefix(name)}grid/n"]


def ccc_on_grid(lanes: Mapping[str, int], prefix: str) -> float | None:
    """Read the CCC from exact sums alone; None without clips."""
    sum_K = _from_grid(lanes, prefix)
    return float(np.real(_ccc(sum_K.astype(np.complex128)))) if sum_K[0] else None


def _read(lanes: Mapping[str, int], name: str, span: float, confidence: float) -> DimensionMetrics:
    rounded = read_moments(_prefix(name), SUMS, lanes)
    sum_K = _from_grid(lanes, _prefix(name))
    if sum_K[0] == 0:
        raise DataError(f"evaluation: expected at least one clip with {name}, found none")
    # the scatter around the mean is that of the rounded sums; the figure that of the exact ones
    product_KK = rounded.product_KK - np.outer(rounded.sum_K, rounded.sum_K) / rounded.persons
    product_KK = product_KK / STEPS**2 + np.outer(sum_K, sum_K) / rounded.persons
    moments = Moments(rounded.persons, sum_K, product_KK)
    mse = estimate(_mse, moments, confidence, (0.0, 1.0))
    wide = {end: getattr(mse, end) * span**2 for end in ("value", "low", "high")}
    return DimensionMetrics(
        ccc=estimate(_ccc, moments, confidence, (-1.0, 1.0)),
        mse=replace(mse, **wide),
        variance=float(sum_K[4] / sum_K[0] - (sum_K[2] / sum_K[0]) ** 2) * span**2,
        persons=moments.persons,
        clips=round(sum_K[0]),
    )


def _from_grid(lanes: Mapping[str, int], prefix: str) -> NDArray[np.float64]:
    whole_K = np.array([lanes[lane] for lane in grid_lanes(prefix)], dtype=np.float64)
    return np.asarray(whole_K / SQUARES)


def _prefix(name: str) -> str:
    return f"dimension/{name}/"


def _ccc(sum_K: NDArray[np.complex128]) -> complex:
    """Source: Lin, A Concordance Correlation Coefficient, Biometrics 1989."""
    x, y, xx, yy, xy = sum_K[1:] / sum_K[0]
    spread = (xx - x**2) + (yy - y**2) + (x - y) ** 2
    return complex(2 * (xy - x * y) / spread) if np.real(spread) > 1e-9 else 0j


def _mse(sum_K: NDArray[np.complex128]) -> complex:
    _, _, xx, yy, xy = sum_K[1:] / sum_K[0]
    return complex(xx + yy - 2 * xy)
