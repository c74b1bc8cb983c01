"""CCC and mean squared error of valence, arousal and dominance, from summed moments.

Per person and dimension six sums: 1, x, y, x², y² and xy for predictions x and targets y, as
integers in units of 2^-12. Their totals and products give both figures with intervals by person.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.affect.classes import CONFIDENCE, sum_by_person
from common.affect.moments import (
    Estimate,
    IntArray,
    Lanes,
    estimate,
    moment_counts,
    moment_lanes,
    read_moments,
)
from common.errors import ConfigError, DataError

UNIT = 2**12
LARGEST = 16.0
"""Predictions and targets are cut to ±16, so that products of sums fit 64 bits."""
SUMS = ("n", "x", "y", "xx", "yy", "xy")


@dataclass(frozen=True)
class DimensionMetrics:
    """What a model reached on one dimension.

    Args:
        ccc: concordance correlation coefficient, -1 to 1; 0 where nothing varies.
        mse: mean squared error, in the target's unit squared.
        persons: persons evaluated.
        clips: clips evaluated.
    """

    ccc: Estimate
    mse: Estimate
    persons: int
    clips: int


def dimension_lanes(dimensions: tuple[str, ...]) -> tuple[str, ...]:
    """Name the integers that a site contributes for these dimensions, in their order."""
    return tuple(lane for name in dimensions for lane in moment_lanes(f"{name}/", SUMS))


def dimension_counts(
    prediction_ND: NDArray[np.floating],
    target_ND: NDArray[np.floating],
    person_N: IntArray,
    dimensions: tuple[str, ...],
) -> Lanes:
    """Count one site's predictions into the lanes; a clip whose target is NaN is left out.

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
        sums_NK = _sums(prediction_ND[rated_N, column], target_ND[rated_N, column])
        lanes |= moment_counts(f"{name}/", SUMS, sum_by_person(sums_NK, person_N[rated_N]))
    return lanes


def dimension_metrics(
    lanes: Mapping[str, int], dimensions: tuple[str, ...], confidence: float = CONFIDENCE
) -> dict[str, DimensionMetrics]:
    """Read each dimension's figures from the lanes summed over sites; those without clips fail.

    Raises:
        DataError: if a dimension has no clip.
    """
    return {name: _read(lanes, name, confidence) for name in dimensions}


def _read(lanes: Mapping[str, int], name: str, confidence: float) -> DimensionMetrics:
    moments = read_moments(f"{name}/", SUMS, lanes)
    if moments.sum_K[0] == 0:
        raise DataError(f"evaluation: expected at least one clip with {name}, found none")
    largest_error = (2 * LARGEST) ** 2
    return DimensionMetrics(
        ccc=estimate(_ccc, moments, confidence, (-1.0, 1.0)),
        mse=estimate(_mse, moments, confidence, (0.0, largest_error)),
        persons=moments.persons,
        clips=round(moments.sum_K[0] / UNIT),
    )


def _sums(x_N: NDArray[np.floating], y_N: NDArray[np.floating]) -> IntArray:
    x_N, y_N = (np.clip(v_N.astype(np.float64), -LARGEST, LARGEST) for v_N in (x_N, y_N))
    sums_NK = np.stack([np.ones_like(x_N), x_N, y_N, x_N**2, y_N**2, x_N * y_N], axis=1)
    whole_NK: IntArray = np.rint(sums_NK * UNIT).astype(np.int64)
    return whole_NK


def _ccc(sum_K: NDArray[np.complex128]) -> complex:
    """Source: Lin, A Concordance Correlation Coefficient, Biometrics 1989."""
    x, y, xx, yy, xy = sum_K[1:] / sum_K[0]
    spread = (xx - x**2) + (yy - y**2) + (x - y) ** 2
    return complex(2 * (xy - x * y) / spread) if np.real(spread) > 1e-9 else 0j


def _mse(sum_K: NDArray[np.complex128]) -> complex:
    _, _, xx, yy, xy = sum_K[1:] / sum_K[0]
    return complex(xx + yy - 2 * xy)
