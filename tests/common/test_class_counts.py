"""Counts of classes over all sites are those of all clips together, on a fine grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.class_counts import COUNTS, counts_from_lane, counts_lane


@given(st.lists(st.lists(st.integers(0, 3), max_size=20), min_size=1, max_size=5))
def test_the_sites_counts_add_up_to_those_of_all_clips(sites):
    one_hot = [np.eye(4, dtype=np.float32)[np.array(site, dtype=int)] for site in sites]
    lanes = [counts_lane(y_NT)["class_counts"] for y_NT in one_hot]
    assert all(lane.dtype == np.int64 for lane in lanes)
    found = counts_from_lane({"class_counts": np.sum(lanes, axis=0)})[COUNTS]
    assert found.tolist() == np.concatenate(one_hot).sum(0).tolist()


def test_shares_of_raters_add_up_to_within_the_grid():
    y_NT = np.random.default_rng(0).dirichlet([1, 2, 3], 50).astype(np.float32)
    found = counts_from_lane(counts_lane(y_NT))[COUNTS]
    assert found == pytest.approx(y_NT.sum(0), abs=1e-5)


def test_where_no_classes_were_counted_nothing_travels():
    assert counts_from_lane({"count/a": np.int64(3)}) == {}
