"""Per-person normalisation: local, free of privacy cost, and it uses the person's own clips."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from client.data.arrays import FloatArray, SiteData
from common.config import Study
from common.inputs import kind_of

NORMALISED_KINDS = ("audio", "features", "physio")
PSEUDO_CLIPS = 1.0
LIMIT = 5.0


def by_person(study: Study, data: SiteData) -> SiteData:
    """Return the data with each feature z-scored within the clips of its own person.

    Audio, physiology and feature vectors are normalised; images, video and text are not.
    It uses a person's unlabelled clips, also those of a person held out for evaluation:
    numbers reached with it are to be called so.

    Guarantees: a clip's values depend on clips of the same person only; labels play no part.
    """
    x = dict(data.x)
    for column, name in enumerate(data.x):
        if kind_of(name) in NORMALISED_KINDS:
            x[name] = _within(data.x[name], data.person_N, data.present_NM[:, column])
    return replace(data, x=x)


def _within(
    x: FloatArray,
    person_N: npt.NDArray[np.int64],
    present_N: npt.NDArray[np.bool_],
) -> FloatArray:
    result = np.zeros_like(x)
    for person in np.unique(person_N):
        mine_N = (person_N == person) & present_N
        if mine_N.any():
            result[mine_N] = shrunken_z(x[mine_N])
    return result


def shrunken_z(x: FloatArray) -> FloatArray:
    """Return z-scores over clips and time, shrunk towards the public constants.

    The public constants (zero mean, unit variance) count as one clip, so that a person
    with a single clip keeps half of its deviation and many clips give the plain z-score.
    """
    axes = tuple(range(x.ndim - 1))
    clips = x.shape[0]
    weight = clips / (clips + PSEUDO_CLIPS)
    mean_F = x.mean(axis=axes, dtype=np.float64) * weight
    spread_F = ((x - mean_F) ** 2).mean(axis=axes, dtype=np.float64) * weight + (1 - weight)
    z: FloatArray = np.clip((x - mean_F) / np.sqrt(spread_F), -LIMIT, LIMIT).astype(np.float32)
    return z
