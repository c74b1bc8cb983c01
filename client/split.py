"""Who trains and who is kept for evaluation; a person is never on both sides."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from client.data.arrays import SiteData
from common.config import Split
from common.errors import DataError

Rows = NDArray[np.bool_]


def split_rows(data: SiteData, split: Split, fold_offset: int | None = None) -> tuple[Rows, Rows]:
    """Which clips train and which are evaluated.

    Without folds the manifest decides: "train" and empty train, `evaluate_on` is evaluated.

    Args:
        data: every clip of the site.
        split: how the study divides persons.
        fold_offset: of the site's policy; see `folds_of`.

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


def folds_of(
    person_ids: tuple[str, ...], folds: int, offset: int | None = None
) -> NDArray[np.int64]:
    """The fold of each person, by a hash of the name.

    Args:
        person_ids: everybody at the site.
        folds: how many.
        offset: None lets each person's own hash decide; a number deals persons out in turn, in
            the order of their hashes, from that fold on.

    Guarantees: without an offset a person's fold depends on nobody else, so that one person more
    or less moves no other between training and evaluation.

    Edge cases: with an offset, folds are even, and one person more moves others. That is for a
    closed list of persons only, such as a published corpus.
    """
    digests = [hashlib.sha256(name.encode()).digest() for name in person_ids]
    if offset is None:
        return np.array([int.from_bytes(d) % folds for d in digests], dtype=np.int64)
    rank_P = np.argsort(np.argsort(np.array([d.hex() for d in digests])))
    return np.asarray((rank_P + offset) % folds, dtype=np.int64)
