"""Persons are on one side only, and folds are even."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.data.arrays import SiteData
from client.split import folds_of, split_rows
from common.config import Split
from common.errors import DataError

PERSONS = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=30, unique=True)


def data_of(person_ids, person_N, split_N=None):
    n = len(person_N)
    names = tuple(f"clip-{i}" for i in range(n))
    splits = np.array(split_N if split_N is not None else [""] * n, dtype=np.str_)
    x, y = {"a": np.zeros((n, 1), np.float32)}, np.zeros((n, 2), np.float32)
    person = np.array(person_N, dtype=np.int64)
    return SiteData(x, np.ones((n, 1), bool), y, person, tuple(person_ids), names, splits)


@given(PERSONS, st.integers(2, 8), st.integers(0, 40))
def test_folds_are_even_to_within_one_person(persons, folds, offset):
    sizes = np.bincount(folds_of(tuple(persons), folds, offset), minlength=folds)
    assert sizes.sum() == len(persons)
    assert sizes.max() - sizes.min() <= 1


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(2, 6))
def test_folds_are_even_over_sites_too(site_sizes, folds):
    """Each site's first fold follows on the last of the site before."""
    total, offset = np.zeros(folds, int), 0
    for number, size in enumerate(site_sizes):
        names = tuple(f"{number}-{person}" for person in range(size))
        total += np.bincount(folds_of(names, folds, offset), minlength=folds)
        offset += size
    assert total.max() - total.min() <= 1


@given(PERSONS, st.text(min_size=1, max_size=8), st.integers(2, 8))
def test_a_persons_fold_depends_on_nobody_else(persons, newcomer, folds):
    before = dict(zip(persons, folds_of(tuple(persons), folds), strict=True))
    crowd = tuple(dict.fromkeys([newcomer, *persons]))
    after = dict(zip(crowd, folds_of(crowd, folds), strict=True))
    assert {name: after[name] for name in persons} == before


def test_folds_by_each_persons_own_hash_are_used_alike():
    sizes = np.bincount(folds_of(tuple(f"person {i}" for i in range(5000)), 5), minlength=5)
    assert sizes.min() > 900


@given(
    PERSONS,
    st.integers(2, 5),
    st.none() | st.integers(0, 9),
    st.randoms(use_true_random=False),
)
def test_each_person_is_kept_in_exactly_one_fold(persons, folds, offset, random):
    clips = [random.randrange(len(persons)) for _ in range(40)]
    data, kept_times = data_of(persons, clips), np.zeros(40, int)
    for fold in range(folds):
        train_N, kept_N = split_rows(data, Split(folds, fold), offset)
        assert (train_N ^ kept_N).all()
        assert not set(data.person_N[train_N]) & set(data.person_N[kept_N])
        kept_times += kept_N
    assert (kept_times == 1).all()


def test_folds_do_not_depend_on_the_order_in_which_persons_are_named():
    names = tuple("abcdefgh")
    by_name = dict(zip(names, folds_of(names, 3, 0), strict=True))
    again = dict(zip(reversed(names), folds_of(tuple(reversed(names)), 3, 0), strict=True))
    assert by_name == again


def test_folds_are_shuffled_and_not_alphabetical():
    assert folds_of(tuple("abcdefghijkl"), 3, 0).tolist() != [0, 1, 2] * 4


def test_without_folds_the_manifest_decides():
    data = data_of("abcd", [0, 1, 2, 3], ["train", "", "validation", "test"])
    train_N, kept_N = split_rows(data, Split(evaluate_on="test"), 0)
    assert train_N.tolist() == [True, True, False, False]
    assert kept_N.tolist() == [False, False, False, True]
    assert split_rows(data, Split(evaluate_on="validation"), 0)[1].tolist() == [0, 0, 1, 0]


def test_a_person_on_both_sides_is_refused_without_being_named():
    data = data_of(["anna", "berta"], [0, 0, 1], ["train", "test", "train"])
    with pytest.raises(DataError, match="1 persons stand both") as error:
        split_rows(data, Split(), 0)
    assert "anna" not in str(error.value)
