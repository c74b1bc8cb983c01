"""Who trains and who is kept for evaluation; a person is never on both sides."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from client.data.arrays import SiteData
from common.config import Split
from common.errors import DataError

Rows = NDArray[np.bool_]


def split_rows(data: SiteData, split: Split, fold_offset: int) -> tuple[Rows, Rows]:
    """Which clips train and which are evaluated.

    Without folds the manifest decides: "train" and empty train, `evaluate_on` is evaluated.

    Args:
        data: every clip of the site.
        split: how the study divides persons.
        fold_offset: the fold of the site's first person.

    Returns:
        two masks (N,), of training and of evaluation clips.

    Raises:
        DataError: a person stands on both sides.
    """
    if split.folds:
        fold_P = folds_of(data.person_ids, split.folds, fold_offset)
        kept_N = fold_P[data.person_N] == split.fold
        return ~kept_N, kept_N
    train_N = np.isin(data.split_N, ("train", ""))
    kept_N = data.split_N == split.evaluate_on
    both = set(data.person_N[train_N]) & set(data.person_N[kept_N])
    if both:
        raise DataError(f"{len(both)} persons stand both in training and in {split.evaluate_on}.")
    return np.asarray(train_N), np.asarray(kept_N)


def folds_of(person_ids: tuple[str, ...], folds: int, offset: int) -> NDArray[np.int64]:
    """The fold of each person: shuffled by a hash of the name, then dealt out in turn."""
    digests = [hashlib.sha256(name.encode()).digest() for name in person_ids]
    rank_P = np.argsort(np.argsort(np.array([d.hex() for d in digests])))
    return np.asarray((rank_P + offset) % folds, dtype=np.int64)
