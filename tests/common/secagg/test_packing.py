import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError, ProtocolError
from common.secagg import packing
from common.secagg.layout import layout_of
from common.secagg.masks import Stream, stream
from common.secagg.packing import Scaled, put_rounded, take_field

BITS = packing.FRACTION_BITS


class Given:
    """Noise that is given instead of drawn."""

    def __init__(self, words_N):
        self.words_N = np.asarray(words_N, np.uint64)

    def take(self, size_bytes):
        taken, self.words_N = np.split(self.words_N, [size_bytes // 8])
        return taken.copy().view(np.uint8)


def fields_of(layout, values, noise):
    """Return what one site's values become with this noise, in steps."""
    values = np.asarray(values)
    words = np.empty(layout.packed_words, np.uint64)
    packing.round_into(words, layout, [Scaled("x", values, 1.0)], noise)
    return np.rint(packing.unpack(words, layout, 1) / layout.grid(layout.reals[0])).astype(int)


def places(layout):
    """Return where the 21 random bits of each field of a word stand in its random word."""
    return [43, 0, 21] if layout.fields_a_word == 3 else [43, 11]


@pytest.mark.parametrize("sites", [3, 10, 256, 257, 1000])
@pytest.mark.parametrize("x", [0.25, -0.25, 7.0, -7.0, 3.5, 1 - 2.0**-BITS, -(2.0**-BITS)])
def test_a_value_is_rounded_down_after_u_of_its_own_was_added(sites, x):
    whole = [0, 1, 1 << 20, (3 << 19) - 1, 3 << 19, (1 << 21) - 1]
    for j in range(layout_of(sites, {"x": (1,)}, 1.0).fields_a_word):
        layout = layout_of(sites, {"x": (6 * (3 if sites <= 256 else 2),)}, 1.0)
        rest = ((1 << 64) - 1) ^ (((1 << BITS) - 1) << places(layout)[j])
        noise = [(u << places(layout)[j]) | rest for u in whole]
        plane = fields_of(layout, np.full(layout.fields, x), Given(noise)).reshape(-1, 6)[j]
        assert plane.tolist() == [int(np.floor(x + u / 2.0**BITS)) for u in whole]


@pytest.mark.parametrize("sites", [3, 300])
def test_as_many_u_round_up_as_the_fraction_has_units(sites):
    layout = layout_of(sites, {"x": (1 << 12,)}, 1.0)
    u = np.arange(1 << 12, dtype=np.uint64) << np.uint64(BITS - 12)
    for part in (0, 1, 1234, (1 << 12) - 1):
        values = np.full(layout.fields, 5 + part / (1 << 12))
        k, m = layout.fields_a_word, layout.packed_words
        noise = np.zeros(m, np.uint64)
        for j, at in enumerate(places(layout)):
            mine = u[j * m : (j + 1) * m]
            noise[: mine.size] |= mine << np.uint64(at)
        assert fields_of(layout, values, Given(noise)).sum() == 5 * (1 << 12) + part
        assert k * m >= layout.fields


def textbook(layout, tensors, random):
    """Return the words: floor(round(2^21 x) / 2^21 + u) of every field, in Python integers."""
    k, m = layout.fields_a_word, layout.packed_words
    steps = np.concatenate([np.float64(one.values_N) * one.factor for one in tensors])
    whole = [round(float(x) * (1 << BITS)) for x in steps] + [0] * (k * m - steps.size)
    words = []
    for i in range(m):
        u = [int(random[i]) >> at & (1 << BITS) - 1 for at in places(layout)]
        fields = [(whole[j * m + i] + u[j]) >> BITS for j in range(k)]
        words.append(sum(f << j * layout.field_bits for j, f in enumerate(fields)) % (1 << 64))
    return np.array(words, np.uint64)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([3, 256, 257, 5000]), st.lists(st.integers(0, 40), min_size=1, max_size=4))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_words_are_the_textbooks_bit_for_bit(dtype, sites, sizes):
    layout = layout_of(sites, {f"t{i}": (size,) for i, size in enumerate(sizes)}, 1.0)
    rng = np.random.default_rng(sum(sizes))
    factors = [layout.limit / 3, 0.37, 1.0, layout.limit / 3.001]
    tensors = [
        Scaled(f"t{i}", rng.uniform(-1, 1, size).astype(dtype), factor)
        for i, (size, factor) in enumerate(zip(sizes, factors, strict=False))
    ]
    random = rng.integers(0, 1 << 64, layout.packed_words, np.uint64)
    words = np.empty(layout.packed_words, np.uint64)
    with pytest.MonkeyPatch.context() as small:
        small.setattr(packing, "CHUNK", 8)
        packing.round_into(words, layout, tensors, Given(random))
    assert (words == textbook(layout, tensors, random)).all()


def test_tensors_that_cross_chunks_and_planes_come_back(monkeypatch):
    monkeypatch.setattr(packing, "CHUNK", 8)
    sizes = {"a": (5,), "none": (0,), "b": (41,), "c": (), "d": (2, 7), "last": (0,)}
    layout = layout_of(10, sizes, {name: 1.0 + i for i, name in enumerate(sizes)})
    rng = np.random.default_rng(1)
    whole = {r.name: rng.integers(-layout.limit, layout.limit, r.size) for r in layout.reals}
    words = np.empty(layout.packed_words, np.uint64)
    packing.pack_into(words, layout, list(whole.values()))
    rounded = np.empty_like(words)
    tensors = [Scaled(name, x.astype(np.float32), 1.0) for name, x in whole.items()]
    packing.round_into(rounded, layout, tensors, Given(np.full(words.size, (1 << 64) - 1)))
    assert (words == rounded).all()
    got = packing.unpack(words, layout, 1)
    grids = np.concatenate([np.full(r.size, layout.grid(r)) for r in layout.reals])
    assert (got == np.concatenate(list(whole.values())) * grids).all()


@pytest.mark.parametrize("sites", [3, 256, 257, 1000])
@pytest.mark.parametrize("n", [1, 3])
def test_a_field_beyond_what_its_sites_can_make_is_refused(sites, n):
    layout = layout_of(sites, {"x": (5,)}, 1.0)
    most, bits = n * layout.limit, layout.field_bits
    for j in range(layout.fields_a_word):
        for sign in (1, -1):
            words = np.zeros(layout.packed_words, np.uint64)
            words[0] = (sign * most << j * bits) % (1 << 64)
            packing.unpack(words, layout, n)
            words[0] = (sign * (most + 1) << j * bits) % (1 << 64)
            with pytest.raises(ProtocolError, match="larger than its contributors"):
                packing.unpack(words, layout, n)


def test_a_sum_with_the_bit_that_no_field_uses_is_refused():
    layout = layout_of(3, {"x": (6,)}, 1.0)
    words = np.zeros(2, np.uint64)
    words[1] = 1 << 63
    with pytest.raises(ProtocolError, match="larger than its contributors"):
        packing.unpack(words, layout, 3)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e9])
def test_one_wrong_value_in_any_chunk_is_refused(monkeypatch, wrong):
    monkeypatch.setattr(packing, "CHUNK", 8)
    layout = layout_of(3, {"x": (100,)}, 1.0)
    for at in (0, 7, 8, 50, 99):
        values = np.zeros(100, np.float32)
        values[at] = wrong
        with pytest.raises(DataError, match=r"^x: "):
            fields_of(layout, values, Given(np.zeros(layout.packed_words)))


def test_a_layout_without_real_tensors_has_no_packed_words():
    layout = layout_of(3, {}, 1.0, exacts={"n": (2,)})
    packing.round_into(np.empty(0, np.uint64), layout, [], Given([]))
    assert packing.unpack(np.empty(0, np.uint64), layout, 3).size == 0
    assert layout.packed_words == 0


def put_by(way, values, factors, limit, random, places):
    """Return what a loop says and writes, as machine code or as Python."""
    out = np.empty(len(random), np.uint64)
    shifts = tuple(np.uint64(at) for at in (0, 21, 42))
    bits = tuple(np.uint64(at) for at in places)
    args = (*values, factors, np.float64(limit), random, shifts, bits, out)
    return bool(getattr(put_rounded, way)(*args)), out.tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 7, 16, 333])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99), scale=st.sampled_from([1e-30, 0.4, 1.0, 1.0 + 2.0**-41, 1.01]))
def test_compiled_rounding_is_the_loop_in_python_to_the_bit(dtype, size, seed, scale):
    rng, limit = np.random.default_rng(seed), (1 << 20) - 1
    values = rng.uniform(-1, 1, (3, size)).astype(dtype)
    values[rng.random((3, size)) < 0.1] = 1
    values[rng.random((3, size)) < 0.1] = -1
    random = rng.integers(0, 1 << 64, size, np.uint64)
    args = values, (limit * scale, 0.37, float(limit)), limit, random, (43, 0, 21)
    assert put_by("machine", *args) == put_by("python", *args)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e30, 10.01, -10.01])
@pytest.mark.parametrize("way", ["machine", "python"])
def test_compiled_rounding_says_of_any_value_that_it_does_not_fit(way, wrong):
    random = np.arange(19, dtype=np.uint64)
    for plane in range(3):
        for at in (0, 15, 18):
            values = np.full((3, 19), 10.0)
            assert put_by(way, values, (1.0, 1.0, 1.0), 10, random, (43, 0, 21))[0]
            values[plane, at] = wrong
            assert not put_by(way, values, (1.0, 1.0, 1.0), 10, random, (43, 0, 21))[0]


@pytest.mark.parametrize("size", [0, 1, 7, 333])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99), j=st.integers(0, 2))
def test_compiled_reading_is_the_loop_in_python_to_the_bit(size, seed, j):
    rng, most, found = np.random.default_rng(seed), (1 << 20) - 1, []
    words = rng.integers(0, 1 << 64, size, np.uint64)
    bias = np.uint64(sum(most << 21 * i for i in range(3)))
    field = np.uint64((1 << (21 if j < 2 else 64)) - 1)
    for way in ("machine", "python"):
        out = np.empty(size)
        args = (words, bias, np.uint64(21 * j), field, most, 0.37, out)
        found.append((int(getattr(take_field, way)(*args)), out.tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize("sites", [3, 257])
def test_rounding_takes_the_stream_of_its_key_from_start_to_end(sites):
    """Whatever a chunk is: which random word goes to which word does not depend on it."""
    layout = layout_of(sites, {"x": (3 * packing.CHUNK + 5,), "y": (2 * packing.CHUNK,)}, 1.0)
    rng, key = np.random.default_rng(2), bytes(range(32))
    tensors = [Scaled(real.name, rng.uniform(-9, 9, real.size), 1.0) for real in layout.reals]
    words, given = np.empty((2, layout.packed_words), np.uint64)
    packing.round_into(words, layout, tensors, Stream(key))
    random = stream(key, given.nbytes).view(np.uint64)
    packing.round_into(given, layout, tensors, Given(random))
    assert (words == given).all()
    at = rng.integers(0, words.size, 50)
    assert (words[at] == textbook(layout, tensors, random)[at]).all()


@pytest.mark.parametrize(
    "values",
    [
        np.arange(-6, 6)[::-1],
        np.arange(12) % 2 == 0,
        np.arange(12).astype(np.float16),
        np.arange(12).astype(np.longdouble),
        np.arange(24, dtype=np.float32)[::2],
        np.arange(12).astype(">f4"),
    ],
)
def test_numbers_of_any_kind_are_rounded_as_doubles(values):
    layout = layout_of(3, {"x": (12,)}, 1.0)
    noise = np.zeros(layout.packed_words, np.uint64)
    assert fields_of(layout, values, Given(noise)).tolist() == np.float64(values).tolist()


def test_tensors_of_single_and_double_precision_share_words():
    layout = layout_of(3, {"x": (5,), "none": (4,), "y": (5,)}, 1.0)
    tensors = [
        Scaled("x", np.arange(5, dtype=np.float32), 1.0),
        Scaled("none", None, 1.0),
        Scaled("y", np.arange(5) / 2, 2.0),
    ]
    words = np.empty(layout.packed_words, np.uint64)
    packing.round_into(words, layout, tensors, Given(np.zeros(words.size)))
    steps = np.rint(packing.unpack(words, layout, 1) / layout.grid(layout.reals[0]))
    assert steps.tolist() == [0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4]


def test_the_tensor_that_is_wrong_is_the_one_that_is_named():
    layout = layout_of(3, {"x": (5,), "y": (5,)}, 1.0)
    for i, name in enumerate("xy"):
        values = np.zeros((2, 5), np.float32)
        values[i, 3] = np.nan
        tensors = [Scaled("x", values[0], 1.0), Scaled("y", values[1], 1.0)]
        words = np.empty(layout.packed_words, np.uint64)
        with pytest.raises(DataError, match=f"^{name}: holds NaN"):
            packing.round_into(words, layout, tensors, Given(np.zeros(words.size)))
