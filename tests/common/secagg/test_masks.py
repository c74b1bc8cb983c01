"""Segments and stretches against the textbook: whole streams, added in Python integers."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.secagg import masks, memory

WORD = 1 << 64
SMALL = 8


def key_of(i):
    return hashlib.sha256(bytes([i])).digest()


def words_of(size, seed=0):
    return np.random.default_rng(seed).integers(0, WORD, size, np.uint64)


def integers(words):
    return [int(word) for word in words]


@pytest.fixture
def small_segments(monkeypatch):
    monkeypatch.setattr(masks, "SEGMENT_WORDS", SMALL)
    monkeypatch.setattr(masks, "SEGMENT_BYTES", 8 * SMALL)
    monkeypatch.setattr(masks, "STRETCH_WORDS", 2 * SMALL)


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("size", [0, 1, SMALL - 1, SMALL, SMALL + 1, 3 * SMALL + 5])
@pytest.mark.parametrize("plus", [0, 1, 3])
def test_masks_are_added_and_taken_off_mod_2_to_the_64(size, plus):
    keys, words = [key_of(i) for i in range(4)], words_of(size)
    expected = integers(words)
    for i, key in enumerate(keys):
        sign = 1 if i < plus else -1
        found = masks.stream(key, 8 * size).view("<u8")
        expected = [(x + sign * int(m)) % WORD for x, m in zip(expected, found, strict=True)]
    masks.apply(words, keys[:plus], keys[plus:])
    assert integers(words) == expected


@pytest.mark.usefixtures("small_segments")
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(0, 5 * SMALL))
def test_a_sum_is_that_of_python_integers(sites, size):
    vectors = [words_of(size, seed) for seed in range(sites)]
    total = np.empty(size, np.uint64)
    masks.add_up(vectors, total)
    columns = zip(*[integers(vector) for vector in vectors], strict=True)
    assert integers(total) == [sum(column) % WORD for column in columns]
    for seed, vector in enumerate(vectors):
        assert (vector == words_of(size, seed)).all()


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("size", [1, 8 * SMALL, 8 * SMALL + 1, 3 * 8 * SMALL - 3])
def test_a_long_piece_of_a_stream_is_that_of_its_segments(size):
    stream = masks.Stream(key_of(7))
    whole = masks.stream(key_of(7), 3 * 8 * SMALL)
    assert (stream.take(size) == whole[:size]).all()
    taken = -(-size // (8 * SMALL))
    other = masks.Stream(key_of(7))
    for _ in range(taken):
        other.take(8 * SMALL)
    assert (stream.take(40) == other.take(40)).all()


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("size", [0, 1, SMALL, SMALL + 1, 3 * SMALL + 5])
def test_a_checksum_is_the_sum_of_odd_multiples(size):
    words, r = words_of(size), masks.stream(key_of(9), 8 * size).view("<u8")
    pairs = zip(integers(r), integers(words), strict=True)
    assert masks.checksum(key_of(9), words) == sum((a | 1) * x for a, x in pairs) % WORD


@pytest.mark.parametrize("dtype", [np.uint64, np.float64])
@pytest.mark.parametrize("size", [0, 1, memory.LARGE_BYTES // 8 - 1, memory.HUGE_BYTES // 8 + 1])
@pytest.mark.parametrize("huge", [True, False])
def test_room_has_the_size_asked_and_can_be_written(monkeypatch, dtype, size, huge):
    if not huge:
        monkeypatch.delattr(memory.mmap, "MADV_HUGEPAGE", raising=False)
    one, other = memory.empty(size, dtype), memory.empty(size, dtype)
    one.fill(1)
    other.fill(2)
    assert (one.shape, one.dtype) == ((size,), dtype)
    assert (one == 1).all()
    assert not np.shares_memory(one, other)


def test_a_kernel_without_huge_pages_gives_room_all_the_same(monkeypatch):
    monkeypatch.setattr(memory.mmap, "MADV_HUGEPAGE", 9999, raising=False)
    room = memory.empty(memory.LARGE_BYTES, np.uint64)
    room.fill(3)
    assert (room == 3).all()


def test_room_that_is_kept_is_given_out_again_once_its_array_is_gone():
    size = 5 * memory.HUGE_BYTES // 8
    one = memory.empty(size, np.uint64, keep=True)
    part, at = one[7:], one.ctypes.data
    del one
    other = memory.empty(size, np.uint64)
    assert not np.shares_memory(part, other)
    del part
    again = memory.empty(size, np.float64, keep=True)
    assert again.ctypes.data == at
    assert memory.empty(size, np.uint64).ctypes.data != at


def test_room_that_is_not_kept_is_gone_with_its_array():
    size = 6 * memory.HUGE_BYTES // 8
    del_me = memory.empty(size, np.uint64)
    del del_me
    assert 8 * size not in memory._KEPT


@pytest.mark.parametrize("pages", [True, False])
def test_zeros_are_zeros_that_cannot_be_written(monkeypatch, pages):
    if not pages:
        monkeypatch.delattr(memory.mmap, "MAP_ANONYMOUS")
    zeros = memory.zeros(10_000)
    assert bytes(zeros) == bytes(10_000)
    assert zeros.readonly


@pytest.mark.parametrize("size", [0, 1, 7, 64, 1001])
@pytest.mark.parametrize("sign", [1, WORD - 1])
def test_the_compiled_loops_over_words_are_those_in_python_to_the_bit(size, sign):
    words = [words_of(size, seed) for seed in range(4)]
    found = []
    for way in ("machine", "python"):
        two, four = words_of(size, 9), words_of(size, 9)
        getattr(masks.add_two, way)(words[0], words[1], np.uint64(sign), two)
        getattr(masks.add_four, way)(*words, four)
        check = getattr(masks.weighed, way)(words[0], words[1])
        assert integers(four) == [
            sum(column) % WORD
            for column in zip(*map(integers, [*words, words_of(size, 9)]), strict=True)
        ]
        found.append((two.tolist(), four.tolist(), int(check) % WORD))
    assert found[0] == found[1]


def test_the_greatest_words_wrap_alike():
    greatest = np.full(9, WORD - 1, np.uint64)
    for way in ("machine", "python"):
        out = greatest.copy()
        getattr(masks.add_two, way)(greatest, greatest, np.uint64(WORD - 1), out)
        assert integers(out) == [1] * 9
        assert int(getattr(masks.weighed, way)(greatest, greatest)) % WORD == 9
