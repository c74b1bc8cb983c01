import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from common.privacy.mechanism import CryptoStream
from common.privacy.ziggurat import (
    EDGE,
    LAYERS,
    LAYERS_LOG2,
    PIECE,
    draw,
    fill_normal,
    layers,
    settle,
)

WIDTHS, HEIGHTS = layers()
STEPS = WIDTHS[:-1] * 2.0 ** (LAYERS_LOG2 - 63)
UPPER = 64 - LAYERS_LOG2
"""Bits of a word that say where in its layer a value lies, its sign among them."""


def word(layer, place):
    """The word of a layer and of a place from -2^53 to 2^53 - 1 in it."""
    return (place % 2**UPPER) << LAYERS_LOG2 | layer


def drawn(first, *tries):
    """The one value that these words make, and how many of them it took.

    A value takes a word, and two for every time that the curve is asked.
    """
    out, is_beyond = np.empty(1), np.empty(1, np.bool_)
    draw(np.array([first], np.uint64), STEPS, WIDTHS[1:], out, is_beyond)
    if not is_beyond[0]:
        return float(out[0]), 1
    words, layer = np.array(tries, np.uint64), np.array([first % LAYERS])
    settled, used = settle(words, STEPS, WIDTHS[1:], HEIGHTS, np.array([0]), layer, out)
    assert settled == 1, "too few words"
    return float(out[0]), 1 + used


def place_of(x, layer):
    return round(x / WIDTHS[layer] * 2 ** (UPPER - 1))


@pytest.fixture(scope="module")
def noise():
    return CryptoStream(bytes(range(32))).gaussian(3_000_000)


def test_all_layers_have_one_area_and_reach_the_top():
    areas = WIDTHS[1:-1] * np.diff(HEIGHTS[1:])
    tail = math.sqrt(math.pi / 2) * math.erfc(EDGE / math.sqrt(2))
    assert len(areas) == LAYERS - 1
    assert areas == pytest.approx(EDGE * HEIGHTS[1] + tail, rel=1e-9)
    assert WIDTHS[0] * HEIGHTS[1] == pytest.approx(areas[0], rel=1e-12)
    assert (np.diff(WIDTHS) < 0).all()
    assert (WIDTHS[-1], HEIGHTS[-1]) == (0, 1)


def test_noise_is_normal_in_the_middle_between_and_in_the_tail(noise):
    assert stats.kstest(noise[:500_000], "norm").pvalue > 1e-4
    assert stats.kstest(noise[np.abs(noise) < 0.05], stats.truncnorm(-0.05, 0.05).cdf).pvalue > 1e-4
    beyond = noise[noise > EDGE]
    assert len(beyond) == pytest.approx(len(noise) * stats.norm.sf(EDGE), abs=45)
    assert stats.kstest(beyond, stats.truncnorm(EDGE, np.inf).cdf).pvalue > 1e-4
    assert (noise < -EDGE).sum() == pytest.approx(len(noise) * stats.norm.sf(EDGE), abs=45)


def test_every_layer_s_share_of_the_values_is_that_of_the_curve(noise):
    """The parts between two widths, where one layer ends and the next goes on."""
    cuts = WIDTHS[1:-1][::-1]
    expected = np.diff(stats.norm.cdf([0, *cuts, np.inf])) * 2
    found, _ = np.histogram(np.abs(noise), [0, *cuts, np.inf])
    is_filled = expected * len(noise) > 20
    chance = expected[is_filled] / expected[is_filled].sum()
    assert stats.chisquare(found[is_filled], chance * found[is_filled].sum()).pvalue > 1e-4


def test_neighbours_are_independent(noise):
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.003
    assert abs(np.corrcoef(noise[:-1] ** 2, noise[1:] ** 2)[0, 1]) < 0.003


@pytest.mark.parametrize("layer", [0, 1, 5, 511, LAYERS - 2])
@pytest.mark.parametrize("share", [-0.999, -0.5, 0.001, 0.7])
def test_the_inner_part_of_a_layer_takes_one_word(layer, share):
    inner = share * WIDTHS[layer + 1]
    value, taken = drawn(word(layer, place_of(inner, layer)))
    assert taken == 1
    assert value == pytest.approx(inner, abs=1e-12)


@pytest.mark.parametrize("layer", [1, 5, 511, LAYERS - 1])
@pytest.mark.parametrize("sign", [-1, 1])
def test_beyond_it_a_value_is_held_to_the_curve(layer, sign):
    x = sign * (WIDTHS[layer] + WIDTHS[layer + 1]) / 2
    curve = (math.exp(-x * x / 2) - HEIGHTS[layer]) / (HEIGHTS[layer + 1] - HEIGHTS[layer])
    below, above = (int((curve + step) * 2**64) for step in (-1e-6, 1e-6))
    first, another = word(layer, place_of(x, layer)), word(511, 2**50)
    assert drawn(first, below, 0) == (pytest.approx(x), 3)
    again = drawn(another)[0]
    assert again != pytest.approx(x)
    assert drawn(first, above, another) == (again, 3)
    assert drawn(first, above, first, above, another) == (again, 5)


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_tail_is_drawn_beyond_the_edge_on_the_side_that_was_drawn(sign):
    lowest = word(0, place_of(sign * (EDGE + 0.01), 0))
    one, half = 2**64 - 1, 2**63
    assert drawn(lowest, one, half) == (sign * EDGE, 3)
    deeper = sign * (EDGE + math.log(2) / EDGE)
    assert drawn(lowest, half, half) == (pytest.approx(deeper), 3)
    far = 2**30  # rejected: room for a value so far out comes once in exp(-17)
    assert drawn(lowest, far, half, half, half) == (pytest.approx(deeper), 5)


@pytest.mark.parametrize("layer", [0, 1, 511, LAYERS - 2])
@pytest.mark.parametrize("place", [0, 1, 2**40, -(2**40), 2**52])
def test_neighbours_that_can_be_drawn_lie_far_closer_than_a_grid_unit(layer, place):
    """Or which noise could be drawn at all would tell what it was added to (Mironov 2012)."""
    here, there = drawn(word(layer, place))[0], drawn(word(layer, place + 1))[0]
    assert 0 < there - here < 2.0**-50


@pytest.mark.parametrize("depth", [1e-2, 1.0, 4.9])
def test_neighbours_in_the_tail_do_as_well(depth):
    lowest = word(0, place_of(EDGE + 0.01, 0))
    more = int(math.exp(-depth * EDGE) * 2**64)
    step = max(1, more >> 46)
    here, there = (drawn(lowest, m, 2**20)[0] for m in (more, more + step))
    assert 0 < here - there < 2.0**-36


def test_what_chooses_the_layer_does_not_place_the_value():
    """Or values of one layer would share their last bits (Doornik 2005)."""
    for layer in (3, 700):
        assert drawn(word(layer, 0)) == (0.0, 1)
        assert drawn(word(layer, 1)) == (WIDTHS[layer] * 2.0**-53, 1)


@pytest.mark.parametrize("layer", [0, 1, LAYERS - 1])
@pytest.mark.parametrize("place", [-(2**53), 2**53 - 1, 0])
@pytest.mark.parametrize("other", [0, 1, 2**64 - 1])
def test_the_outermost_words_give_finite_values(layer, place, other):
    half, last = 2**63, word(511, 1)
    value, _ = drawn(word(layer, place), other, other, other, half, half, last, *9 * [half])
    assert math.isfinite(value)
    assert abs(value) < 17


@given(st.sampled_from([0, 1, 2, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 3]), st.integers(0, 9))
def test_any_size_is_filled_and_nothing_beside_it(size, key):
    out = np.full(size + 1, np.nan)
    fill_normal(CryptoStream(key.to_bytes(32, "big")).words, out[:size])
    assert np.isfinite(out[:size]).all()
    assert np.isnan(out[size])


def test_values_that_find_no_more_words_are_begun_anew_with_the_same_ones():
    """Or those that need many words would be too seldom."""
    lowest, far, half = word(0, place_of(EDGE + 0.01, 0)), 2**30, 2**63
    words = np.array([far, half, far, half, half, half], np.uint64)
    out, places = np.full(2, EDGE + 0.01), np.array([0, 1])
    tables = STEPS, WIDTHS[1:], HEIGHTS, places, np.zeros(2, np.int64)
    assert drawn(lowest, *words)[1] == 7
    assert settle(words[:4], *tables, out) == (0, 0)
    assert settle(words, *tables, out) == (1, 6)
    assert out.tolist() == [pytest.approx(EDGE + math.log(2) / EDGE), EDGE + 0.01]


def test_a_value_that_ran_out_of_words_goes_on_where_it_was():
    """Begun anew with other words, a value that was rejected could be kept after all."""
    first, other = ((WIDTHS[layer] + WIDTHS[layer + 1]) / 2 for layer in (1, 5))
    above, below = 2**64 - 1, 0
    rejected = [above, word(5, place_of(other, 5))]
    answers = iter([[word(1, place_of(first, 1))], rejected * 6, [below] * 12])
    out = np.empty(1)
    fill_normal(lambda _size: np.array(next(answers), np.uint64), out)
    assert out[0] == pytest.approx(other)
    assert not list(answers)


def test_more_words_are_asked_for_until_all_values_are_made():
    """The curve asked of every value: 8 + 4n words do not always do for n values."""
    left, asked = {"first": True}, []
    stream = CryptoStream(bytes(32))

    def words(size):
        asked.append(size)
        if left.pop("first", False):
            return np.zeros(size, np.uint64) + np.uint64(word(0, place_of(EDGE + 0.01, 0)))
        found = stream.words(size)
        found[: size // 2 * 2 : 2] >>= np.uint64(20 if len(asked) == 2 else 0)
        return found

    out = np.empty(1000)
    fill_normal(words, out)
    assert len(asked) > 2
    assert (out > EDGE).all()
    assert (out < 9).all()


@given(st.integers(0, 99))
def test_the_compiled_loops_are_those_in_python_to_the_bit(key):
    words, more = CryptoStream(key.to_bytes(32, "big")).words(3000)[:2000], np.arange(64) << 57
    found = []
    for one, other in ((draw.machine, settle.machine), (draw.python, settle.python)):
        out, is_beyond = np.empty(2000), np.empty(2000, np.bool_)
        one(words, STEPS, WIDTHS[1:], out, is_beyond)
        beyond = np.flatnonzero(is_beyond)
        rest = beyond, (words[beyond] % LAYERS).astype(np.int64), out
        made = other(more.astype(np.uint64), STEPS, WIDTHS[1:], HEIGHTS, *rest)
        found.append((beyond.tolist(), made, out.tolist()))
    assert found[0] == found[1]
