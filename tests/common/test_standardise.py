"""Mean and spread through integer lanes: what sums give is what all clips together give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ProtocolError
from common.standardise import (
    LARGEST,
    check_statistics,
    from_lanes,
    split,
    standardise,
    statistics_lanes,
)


def lanes_of(x, present):
    return statistics_lanes({"a": x}, {"a": present}, ("a",))


@pytest.mark.parametrize("shape", [(30, 4), (30, 5, 4)])
@given(seed=st.integers(0, 1000), sites=st.integers(1, 4))
def test_summed_lanes_give_the_mean_and_spread_of_all_present_clips(shape, seed, sites):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(3, 2, shape).astype(np.float32) for _ in range(sites)]
    masks = [rng.random(shape[0]) < 0.7 for _ in range(sites)]
    masks[0][0] = True
    found = [lanes_of(x, mask) for x, mask in zip(parts, masks, strict=True)]
    summed = {name: sum(lanes[name] for lanes in found) for name in found[0]}
    rows = np.concatenate([x[m].reshape(-1, 4) for x, m in zip(parts, masks, strict=True)])
    statistics = from_lanes(summed, ("a",))
    assert np.allclose(statistics["standardise.a.mean"], rows.mean(0, dtype=float), atol=1e-4)
    spread = np.maximum(rows.std(0, dtype=float), 1e-3)
    assert np.allclose(1 / statistics["standardise.a.scale"], spread, rtol=5e-3, atol=2e-3)


def test_absent_clips_are_not_counted_and_stay_zero():
    x = np.array([[1.0], [3.0], [99.0]], np.float32)
    present = np.array([True, True, False])
    statistics = from_lanes(lanes_of(x, present), ("a",))
    assert statistics["standardise.a.mean"] == pytest.approx([2.0])
    x[2] = 0
    out = standardise({"a": x}, {"a": present}, statistics)["a"]
    assert out[:, 0] == pytest.approx([-1, 1, 0], abs=1e-4)


def test_one_wild_clip_is_cut_and_cannot_fill_a_lane():
    x = np.array([[1e30], [0.0]], np.float32)
    lanes = lanes_of(x, np.array([True, True]))
    assert int(lanes["sum/a"][0]) == 1024 << 20
    assert int(lanes["square/a"][0]) == 1 << 40


def test_standardised_features_are_bounded():
    statistics = from_lanes(lanes_of(np.zeros((4, 2), np.float32), np.ones(4, bool)), ("a",))
    x = np.full((4, 2), 1e6, np.float32)
    assert standardise({"a": x}, {"a": np.ones(4, bool)}, statistics)["a"].max() == LARGEST


def test_a_modality_without_statistics_stays_as_it_is():
    x = {"image": np.ones((2, 1, 4, 4), np.float32)}
    assert standardise(x, {"image": np.ones(2, bool)}, {})["image"] is x["image"]


def test_the_models_tensors_and_the_statistics_come_apart():
    weights, statistics = split({"head.weight": np.ones(2), "standardise.a.mean": np.zeros(1)})
    assert set(weights) == {"head.weight"}
    assert set(statistics) == {"standardise.a.mean"}


def test_counts_of_classes_come_apart_from_the_model_too():
    weights, gathered = split({"head.weight": np.ones(2), "balance.counts": np.ones(3)})
    assert (set(weights), set(gathered)) == ({"head.weight"}, {"balance.counts"})


@pytest.mark.parametrize(
    "counts",
    [None, [1.0, 2.0], [1.0, 2.0, -1.0], [1.0, 2.0, np.nan], [[1.0, 2.0, 3.0]]],
    ids=["missing", "too short", "below zero", "not a number", "another shape"],
)
def test_counts_that_are_not_the_studys_are_refused(counts):
    good = {"balance.counts": np.array([1.0, 0.0, 3.0], np.float32)}
    check_statistics(good, {}, (3,))
    with pytest.raises(ProtocolError, match=r"balance\.counts is not expected"):
        check_statistics(good, {})
    found = {} if counts is None else {"balance.counts": np.array(counts, np.float32)}
    with pytest.raises(ProtocolError, match=r"balance\.counts"):
        check_statistics(found, {}, (3,))


@pytest.mark.parametrize(
    "harm",
    [
        lambda s: s.pop("standardise.a.mean"),
        lambda s: s.update({"standardise.b.mean": np.zeros(2, np.float32)}),
        lambda s: s.update({"standardise.a.mean": np.zeros(10**6, np.float32)}),
        lambda s: s.update({"standardise.a.scale": np.array([1.0, np.inf], np.float32)}),
    ],
    ids=["one missing", "one too many", "too long", "not finite"],
)
def test_statistics_that_are_not_the_studys_are_refused(harm):
    good = {f"standardise.a.{part}": np.ones(2, np.float32) for part in ("mean", "scale")}
    check_statistics(good, {"a": (2,)})
    harm(good)
    with pytest.raises(ProtocolError):
        check_statistics(good, {"a": (2,)})
