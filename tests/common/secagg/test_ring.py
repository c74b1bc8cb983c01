import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError, DataError, PrivacyError, ProtocolError
from common.secagg.layout import Exact, Layout, Real, Weight, layout_of
from common.secagg.ring import decode, encode, encode_grid


def small(sites=4, **changes):
    layout = layout_of(
        sites,
        {"matrix": (3, 5), "scalar": (), "empty": (0, 2), "extra": (2,)},
        {"matrix": 1.0, "scalar": 4.0, "empty": 1.0, "extra": 0.5},
        weights={"all": 64, "audio": 16},
        weight_of={"matrix": "all", "scalar": "all", "extra": "audio"},
        exacts={"confusion": (2, 2), "steps": ()},
    )
    return replace(layout, **changes)


def values(rng):
    return {
        "matrix": rng.uniform(-1, 1, (3, 5)),
        "scalar": np.float32(rng.uniform(-4, 4)),
        "empty": np.zeros((0, 2)),
        "extra": rng.uniform(-0.5, 0.5, 2),
    }


EXACTS = {"confusion": [[1, -2], [3, 1 << 40]], "steps": 7}


@pytest.mark.parametrize("sites", [3, 10, 256, 257, 1000])
def test_a_sum_comes_back_within_one_step_a_site(sites):
    layout = small(sites)
    rng = np.random.default_rng(sites)
    n = min(sites, 5)
    inputs = [values(rng) for _ in range(n)]
    counts = [
        {"all": int(rng.integers(0, 65)), "audio": int(rng.integers(0, 17))} for _ in range(n)
    ]
    pairs = zip(inputs, counts, strict=True)
    words = sum(encode(layout, x, w, EXACTS, os.urandom) for x, w in pairs)
    got = decode(layout, words, n)
    for real in layout.reals:
        cap = layout.cap(real.weight)
        terms = [
            w.get(real.weight, 1) / cap * np.asarray(x[real.name], np.float64)
            for x, w in zip(inputs, counts, strict=True)
        ]
        assert got.sums[real.name].shape == real.shape
        assert (np.abs(got.sums[real.name] - sum(terms)) <= n * layout.grid(real)).all()
    assert got.weights == {k: sum(w[k] for w in counts) for k in ("all", "audio")}
    assert (got.exacts["confusion"] == n * np.array(EXACTS["confusion"])).all()
    assert got.exacts["steps"].shape == ()
    assert got.exacts["steps"] == 7 * n


def test_the_mean_is_that_of_all_records():
    layout = layout_of(3, {"w": (2,)}, 1.0, weights={"n": 256}, weight_of={"w": "n"})
    sites = [({"w": [0.5, -0.25]}, 100), ({"w": [-0.5, 0.75]}, 50)]
    words = sum(encode(layout, x, {"n": n}, {}, os.urandom) for x, n in sites)
    mean = decode(layout, words, 2).mean("w")
    assert np.allclose(mean, [25 / 150, 12.5 / 150], atol=1e-4)


def test_a_group_that_no_site_has_gives_no_mean():
    layout = small()
    x = {k: v for k, v in values(np.random.default_rng(0)).items() if k != "extra"}
    words = encode(layout, x, {"all": 1, "audio": 0}, EXACTS, os.urandom)
    got = decode(layout, words, 1)
    assert got.mean("extra") is None
    assert not got.sums["extra"].any()
    assert got.mean("matrix").shape == (3, 5)


def test_without_a_weight_the_mean_is_over_sites():
    reals = tuple(replace(real, weight="") for real in small().reals)
    layout = replace(small(), reals=reals, weights=())
    x = values(np.random.default_rng(0))
    words = encode(layout, x, {}, EXACTS, os.urandom) + encode(layout, x, {}, EXACTS, os.urandom)
    assert np.allclose(decode(layout, words, 2).mean("matrix"), x["matrix"], atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 300),
    st.lists(st.lists(st.floats(-1, 1, width=32), min_size=7, max_size=7), min_size=1, max_size=4),
)
def test_any_values_within_the_scale_sum_up(sites, rows):
    layout = layout_of(max(sites, len(rows)), {"x": (7,)}, 1.0)
    words = sum(encode(layout, {"x": row}, {}, {}, os.urandom) for row in rows)
    got = decode(layout, words, len(rows)).sums["x"]
    assert (np.abs(got - np.sum(rows, axis=0)) <= len(rows) * layout.grid(layout.reals[0])).all()


@pytest.mark.parametrize("sites", [3, 7, 100, 256, 257, 300, 1000])
@pytest.mark.parametrize("scale", [1.0, 0.1, 8.0, 1e-3])
def test_a_value_at_its_scale_is_sent_and_never_as_more(sites, scale):
    layout = layout_of(sites, {"x": (1000,)}, scale, weights={"n": 8}, weight_of={"x": "n"})
    x = np.array([scale, -scale] * 500)
    for ones in (b"\xff", b"\x00"):
        words = encode(layout, {"x": x}, {"n": 8}, {}, lambda size, ones=ones: ones * size)
        steps = decode(layout, words, 1).sums["x"] / layout.grid(layout.reals[0])
        assert (np.abs(np.rint(steps)) == layout.limit).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.data())
def test_integers_on_the_grid_sum_exactly_up_to_the_limit(sites, data):
    layout = layout_of(sites, {"x": (5,), "y": ()}, 1.0, exacts={"e": (3,)})
    field = st.integers(-layout.limit, layout.limit)
    cap = layout.exacts[0].cap
    n = data.draw(st.integers(1, min(sites, 5)))
    total, words = np.zeros(9, object), np.zeros(layout.words, np.uint64)
    for _ in range(n):
        row = data.draw(st.lists(field, min_size=6, max_size=6))
        lanes = data.draw(st.lists(st.integers(-cap, cap), min_size=3, max_size=3))
        words += encode_grid(layout, {"x": row[:5], "y": row[5]}, {}, {"e": lanes})
        total += np.array(row + lanes, object)
    got = decode(layout, words, n)
    step = layout.grid(layout.reals[0])
    assert (np.rint(got.sums["x"] / step) == total[:5].astype(float)).all()
    assert np.rint(got.sums["y"] / step) == total[5]
    assert (got.exacts["e"] == total[6:]).all()


def test_every_site_at_the_limit_does_not_wrap():
    for sites in (3, 64, 256, 300):
        layout = layout_of(sites, {"x": (4,)}, 1.0)
        one = encode_grid(layout, {"x": [layout.limit, -layout.limit] * 2}, {}, {})
        words = one * np.uint64(sites)
        assert np.allclose(decode(layout, words, sites).sums["x"], [sites, -sites] * 2)


def test_rounding_is_unbiased_and_by_at_most_one_step():
    """Guarantee: the expectation of each field is the value itself."""
    layout = layout_of(1000, {"x": (200_000,)}, 1.0)
    step = layout.grid(layout.reals[0])
    for part in (0.0, 0.25, 0.5, 0.9):
        x = np.full(200_000, (12 + part) * step)
        got = decode(layout, encode(layout, {"x": x}, {}, {}, os.urandom), 1).sums["x"] / step
        assert set(np.rint(got)) <= {12.0, 13.0}
        assert abs(got.mean() - (12 + part)) < 5 * 0.5 / np.sqrt(200_000)


def test_rounding_of_float32_is_that_of_the_value_itself():
    layout = layout_of(3, {"x": (100_000,)}, 1.0)
    x = np.full(100_000, 0.3, np.float32)
    got = decode(layout, encode(layout, {"x": x}, {}, {}, os.urandom), 1).sums["x"]
    step = layout.grid(layout.reals[0])
    assert abs(got.mean() - float(np.float32(0.3))) < 5 * step / np.sqrt(100_000)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (np.nan, "matrix: holds NaN"),
        (np.inf, "matrix: holds an infinity"),
        (-np.inf, "matrix: holds an infinity"),
        (1.01, "matrix: a value is beyond the public scale"),
        (-1.01, "matrix: a value is beyond the public scale"),
        (1e300, "matrix: a value is beyond the public scale"),
    ],
)
def test_what_does_not_fit_is_refused_and_not_wrapped(bad, reason):
    layout, x = small(), values(np.random.default_rng(0))
    x["matrix"][1, 2] = bad
    with pytest.raises(DataError, match=reason) as error:
        encode(layout, x, {"all": 64, "audio": 1}, EXACTS, os.urandom)
    assert "1.01" not in str(error.value)


def test_nan_is_refused_in_a_later_chunk_too():
    layout = layout_of(3, {"x": (100_000,)}, 1.0)
    for at in (0, 32_767, 32_768, 99_999):
        x = np.zeros(100_000, np.float32)
        x[at] = np.nan
        with pytest.raises(DataError, match="NaN"):
            encode(layout, {"x": x}, {}, {}, os.urandom)


@pytest.mark.parametrize("count", [-1, 65, 1 << 70])
def test_a_weight_above_its_cap_is_refused(count):
    with pytest.raises(PrivacyError, match="'all' is outside 0 to 64"):
        encode(small(), {}, {"all": count, "audio": 0}, EXACTS, os.urandom)


@pytest.mark.parametrize(
    ("reals", "weights", "exacts", "reason"),
    [
        ({"matrix": None}, {}, {}, "'matrix' is missing"),
        ({"matrix": np.zeros(15)}, {}, {}, r"expected shape \(3, 5\), got \(15,\)"),
        ({"matrix": np.zeros((3, 5), complex)}, {}, {}, "expected real numbers"),
        ({"matrix": np.full((3, 5), "x")}, {}, {}, "expected real numbers"),
        ({}, {"audio": None}, {}, "weight 'audio' is missing"),
        ({}, {}, {"steps": None}, "'steps' is missing"),
        ({}, {}, {"steps": 0.5}, "steps: expected integers"),
        ({}, {}, {"steps": 1 << 49}, "steps: a value is beyond"),
        ({}, {}, {"confusion": [1, 2, 3, 4]}, "confusion: expected shape"),
    ],
)
def test_what_is_missing_or_misshapen_is_refused(reals, weights, exacts, reason):
    def given_of(good, change):
        return {k: v for k, v in (good | change).items() if v is not None}

    x = given_of(values(np.random.default_rng(0)), reals)
    w = given_of({"all": 2, "audio": 1}, weights)
    with pytest.raises(DataError, match=reason):
        encode(small(), x, w, given_of(EXACTS, exacts), os.urandom)


@pytest.mark.parametrize("bad", [[1.0] * 5, [0, 0, 0, 0, 1 << 20], [0, 0, 0, 0, -(1 << 20)]])
def test_grid_values_beyond_the_limit_or_not_whole_are_refused(bad):
    layout = layout_of(3, {"x": (5,)}, 1.0)
    with pytest.raises(DataError, match="x: "):
        encode_grid(layout, {"x": bad}, {}, {})


@pytest.mark.parametrize("words", [np.full(9, 1 << 20, np.uint64), np.zeros(8, np.uint64)])
def test_a_sum_that_cannot_be_is_refused(words):
    layout = layout_of(4, {"x": (24,)}, 1.0, weights={"n": 2})
    with pytest.raises(ProtocolError):
        decode(layout, words, 2)


@pytest.mark.parametrize("total", [-1, 5])
def test_a_weight_sum_that_cannot_be_is_refused(total):
    layout = layout_of(4, {"x": (3,)}, 1.0, weights={"n": 2})
    words = np.array([0, total], np.int64).view(np.uint64)
    with pytest.raises(ProtocolError, match="the sum of n"):
        decode(layout, words, 2)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Layout(0), "1 to 65536 sites"),
        (lambda: Layout(3, (Real("a", (), 1.0), Real("a", (), 1.0))), "name of its own"),
        (lambda: Layout(3, (Real("", (), 1.0),)), "name of its own"),
        (lambda: Layout(3, (Real("a", (), 1.0, "w"),)), "unknown weight 'w'"),
        (lambda: Layout(3, (Real("a", (), 0.0),)), "scale above 0"),
        (lambda: Layout(3, (Real("a", (), float("nan")),)), "scale above 0"),
        (lambda: Layout(3, (), (Weight("w", 100),)), "power of two"),
        (lambda: Layout(3, (), (), (Exact("e", (), 1 << 62),)), "cap of e"),
    ],
)
def test_a_layout_that_contradicts_itself_is_refused(make, reason):
    with pytest.raises(ConfigError, match=reason):
        make()


def test_every_part_of_a_layout_is_in_its_digest():
    base = small()
    others = [
        replace(base, sites=5),
        replace(base, reals=base.reals[:-1]),
        replace(base, reals=(replace(base.reals[0], scale=2.0), *base.reals[1:])),
        replace(base, reals=(replace(base.reals[0], shape=(5, 3)), *base.reals[1:])),
        replace(base, reals=(replace(base.reals[0], weight="audio"), *base.reals[1:])),
        replace(base, weights=(replace(base.weights[0], cap=32), *base.weights[1:])),
        replace(base, exacts=(replace(base.exacts[0], cap=5), *base.exacts[1:])),
        replace(base, exacts=base.exacts[::-1]),
    ]
    assert len({one.digest for one in (base, *others)}) == 1 + len(others)


def test_three_fields_a_word_up_to_256_sites_and_two_beyond():
    for sites, bits, words in ((256, 21, 334), (257, 32, 500)):
        layout = layout_of(sites, {"x": (1000,)}, 1.0)
        assert (layout.field_bits, layout.words) == (bits, words)
        assert layout.limit == ((1 << bits - 1) - 1) // sites
