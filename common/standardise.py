"""Mean and spread of input features, from sums over sites; applied to a site's arrays.

They travel with the model as tensors named `standardise.MODALITY.mean` and `.scale`, so its
hash covers them and a finished run carries them along.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from common.class_counts import COUNTS
from common.errors import ProtocolError
from common.inputs import Shape
from common.parameters import Arrays
from common.sums import FIXED_POINT, LARGEST_INPUT

PREFIX = "standardise."
LARGEST = 10.0
"""Standardised features are cut to ±10 spreads."""
SMALLEST_SPREAD = 1e-3

Inputs = Mapping[str, NDArray[np.float32]]


def statistics_lanes(
    x: Inputs, present: Mapping[str, NDArray[np.bool_]], names: tuple[str, ...]
) -> dict[str, NDArray[np.int64]]:
    """One site's counts, sums and sums of squares, in fixed point.

    Args:
        x: modality -> (N, F) or (N, T, F).
        present: modality -> (N,).
        names: the modalities that are normalised.
    """
    lanes: dict[str, NDArray[np.int64]] = {}
    for name in names:
        values = x[name][present[name]].astype(np.float64)
        rows = values.reshape(-1, values.shape[-1]).clip(-LARGEST_INPUT, LARGEST_INPUT)
        lanes[f"count/{name}"] = np.array(len(rows), dtype=np.int64)
        lanes[f"sum/{name}"] = np.rint(rows.sum(0) * FIXED_POINT).astype(np.int64)
        lanes[f"square/{name}"] = np.rint((rows**2).sum(0) * FIXED_POINT).astype(np.int64)
    return lanes


def from_lanes(lanes: Mapping[str, NDArray[np.int64]], names: tuple[str, ...]) -> Arrays:
    """Mean and 1/spread of every feature, from the summed lanes."""
    found: Arrays = {}
    for name in names:
        count = max(int(lanes[f"count/{name}"]), 1)
        mean = lanes[f"sum/{name}"] / FIXED_POINT / count
        square = lanes[f"square/{name}"] / FIXED_POINT / count
        spread = np.sqrt(np.maximum(square - mean**2, SMALLEST_SPREAD**2))
        found[f"{PREFIX}{name}.mean"] = mean.astype(np.float32)
        found[f"{PREFIX}{name}.scale"] = (1 / spread).astype(np.float32)
    return found


def split(arrays: Mapping[str, NDArray[np.generic]]) -> tuple[Arrays, Arrays]:
    """The model's own tensors, and the statistics and counts that travel with them."""
    as_float = {name: np.asarray(value, dtype=np.float32) for name, value in arrays.items()}
    ours = {n: v for n, v in as_float.items() if n.startswith(PREFIX) or n == COUNTS}
    return {name: v for name, v in as_float.items() if name not in ours}, ours


def check_statistics(
    statistics: Arrays, shapes: Mapping[str, Shape], counts_shape: Shape = ()
) -> None:
    """Refuse statistics and counts that are not the study's.

    Args:
        statistics: what came with the model.
        shapes: modality -> shape of its mean and scale; empty where there shall be none.
        counts_shape: of the counts of classes; () where there shall be none.

    Raises:
        ProtocolError: a name, a shape or a value that does not fit.
    """
    parts = ("mean", "scale")
    expected = {f"{PREFIX}{name}.{part}": s for name, s in shapes.items() for part in parts}
    expected |= {COUNTS: counts_shape} if counts_shape else {}
    for name in sorted(statistics.keys() | expected.keys()):
        if name not in expected or name not in statistics:
            raise ProtocolError(f"{name} is {'missing' if name in expected else 'not expected'}.")
        value = statistics[name]
        if value.shape != expected[name] or not np.isfinite(value).all():
            raise ProtocolError(f"{name}: expected {expected[name]} finite values.")
    if COUNTS in expected and (statistics[COUNTS] < 0).any():
        raise ProtocolError(f"{COUNTS}: expected no count below 0.")


def standardise(
    x: Inputs, present: Mapping[str, NDArray[np.bool_]], statistics: Arrays
) -> dict[str, NDArray[np.float32]]:
    """Standardised inputs; absent clips stay zero, modalities without statistics as they are."""
    out = dict(x)
    for name in x:
        if f"{PREFIX}{name}.mean" in statistics:
            mean, scale = (statistics[f"{PREFIX}{name}.{part}"] for part in ("mean", "scale"))
            values = ((x[name] - mean) * scale).clip(-LARGEST, LARGEST)
            values[~present[name]] = 0
            out[name] = values.astype(np.float32)
    return out
