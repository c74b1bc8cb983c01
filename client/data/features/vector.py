"""Feature vectors that a lab computed itself: scaled by the study's public constants."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from client.data.arrays import FloatArray
from client.data.features.base import FrontEnd, Window
from client.data.manifest import Source
from client.data.readers.files import check_size
from client.data.readers.vectors import MAX_VECTOR_BYTES, read_vectors
from common.errors import ConfigError, DataError
from common.inputs import Options

LIMIT = 5.0


def scaled_vector(source: Source, options: Options) -> FloatArray:
    """Return (mean over frames − centre) / scale, with missing values at zero.

    Args:
        source: a file, a JSON list or numbers; a sequence of frames is averaged over time.
        options: dim; centre and scale, each one number or one per feature.

    Guarantees: every value is finite and within ± 5 public scales.

    Raises:
        DataError: when the number of features is not dim.
    """
    rows_TF = read_vectors(source)
    dim = options["dim"]
    if rows_TF.shape[1] != dim:
        raise DataError(f"expected {dim} features (options.dim), found {rows_TF.shape[1]}")
    finite_TF = np.isfinite(rows_TF)
    total_F = np.where(finite_TF, rows_TF, 0.0).sum(axis=0)
    mean_F = np.where(finite_TF.any(axis=0), total_F / np.maximum(finite_TF.sum(axis=0), 1), np.nan)
    scaled_F = (mean_F - constant("centre", options)) / constant("scale", options)
    return np.clip(np.nan_to_num(scaled_F, nan=0.0), -LIMIT, LIMIT).astype(np.float32)


def constant(name: str, options: Options) -> npt.NDArray[np.float64]:
    """Return a public constant of the study: one number, or one for each of dim features.

    Raises:
        ConfigError: it is neither, or a scale that is not above 0.
    """
    values = np.asarray(options[name], dtype=np.float64)
    if values.shape not in {(), (1,), (options["dim"],)} or not np.isfinite(values).all():
        raise ConfigError(f"options.{name}: expected one number, or {options['dim']} of them")
    if name == "scale" and not (values > 0).all():
        raise ConfigError("options.scale: expected numbers above 0")
    return values


def _files(source: Source) -> Sequence[Path]:
    if not isinstance(source, Path):
        return ()
    check_size(source, MAX_VECTOR_BYTES)
    return (source,)


def _extract(source: Source, windows: Sequence[Window], options: Options) -> list[FloatArray]:
    return [scaled_vector(source, options)] * len(windows)


VECTOR = FrontEnd(version=1, files=_files, extract=_extract)
