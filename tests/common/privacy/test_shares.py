import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from common.errors import ConfigError, PrivacyError
from common.privacy import shares
from common.privacy.discrete import (
    PIECE,
    discrete_gaussian_table,
    look_up,
    round_to_grid,
    sample_share,
)
from common.privacy.mechanism import CryptoStream


def stream(number=0):
    return CryptoStream(number.to_bytes(32, "big"))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 4.0, 37.7])
def test_the_table_is_the_discrete_gaussian(sigma):
    table = discrete_gaussian_table(sigma)
    support = np.arange(-table.bound, table.bound + 1)
    weights = np.exp(-(support**2) / (2 * sigma**2))
    found = np.diff(table.high.astype(np.float64) / 2.0**64, prepend=0)
    assert np.allclose(found, weights / weights.sum(), atol=1e-15)
    assert table.total_variation < 1e-30


def test_the_table_is_the_same_on_every_machine():
    table = discrete_gaussian_table(4.0)
    middle = table.bound
    assert len(table.high) == 2 * 56 + 1
    found = zip(table.high[middle : middle + 2], table.low[middle : middle + 2], strict=True)
    assert [(hex(int(high)), hex(int(low))) for high, low in found] == GOLDEN


GOLDEN = [
    ("0x8cc42299ea1b2846", "0x87e59e2805d5c717"),
    ("0xa5834e3aeed9f4b8", "0xba63b171eabb976b"),
]
"""Computed by another way: 400 bits of floating point, summed directly."""


@pytest.mark.parametrize("sigma", [4.0, 11.3])
def test_the_sampler_draws_the_discrete_gaussian(sigma):
    table = discrete_gaussian_table(sigma)
    drawn = sample_share(stream(), 100_000, table)
    support = np.arange(-table.bound, table.bound + 1)
    weights = np.exp(-(support**2) / (2 * sigma**2))
    expected = 100_000 * weights / weights.sum()
    counts = np.bincount(drawn + table.bound, minlength=len(support))
    often = expected > 20
    observed = np.append(counts[often], counts[~often].sum())
    wanted = np.append(expected[often], expected[~often].sum())
    assert stats.chisquare(observed, wanted).pvalue > 1e-4


def test_a_share_never_leaves_its_table():
    source = stream()
    table = discrete_gaussian_table(4.0)
    source.words = lambda size: np.full(size, 2**64 - 1, dtype=np.uint64)
    assert sample_share(source, 3, table).max() == table.bound
    source.words = lambda size: np.zeros(size, dtype=np.uint64)
    assert sample_share(source, 3, table).min() >= -table.bound


def test_a_word_that_meets_an_entry_is_settled_by_64_more_bits():
    table = discrete_gaussian_table(4.0)
    place = table.bound + 1
    for low, expected in ((0, 1), (int(table.low[place]) + 1, 2)):
        source = stream()
        answers = iter([np.array([table.high[place]]), np.array([low], dtype=np.uint64)])
        source.words = lambda _size, answers=answers: next(answers)
        assert sample_share(source, 1, table)[0] == expected


@pytest.mark.parametrize("sigma", [0.5, 4.0, 1000.0])
@given(st.integers(0, 99))
def test_each_word_is_found_where_a_search_of_the_whole_table_finds_it(sigma, number):
    table = discrete_gaussian_table(sigma)
    edges = table.high[:: max(1, len(table.high) // 50)]
    words = np.concatenate([stream(number).words(300), edges, edges + 1, edges - 1])
    expected = np.searchsorted(table.high, words, side="left")
    ties = int((table.high[expected] == words).sum())
    assert ties >= len(edges)
    for loop in (look_up.machine, look_up.python):
        found = np.empty(len(words), np.int64)
        assert loop(words, table.high, table.guide, found) == ties
        assert (found == expected).all()


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1])
def test_as_many_are_drawn_as_are_asked_for(size):
    drawn = sample_share(stream(), size, discrete_gaussian_table(4.0))
    assert (drawn.shape, drawn.dtype) == ((size,), np.int64)


@pytest.mark.parametrize("sigma", [0.1, 2.0**18])
def test_a_share_outside_the_sampler_is_refused(sigma):
    with pytest.raises(PrivacyError, match="sigma"):
        discrete_gaussian_table(sigma)


def test_shares_add_up_to_the_noise_of_the_whole():
    sigma, honest = 40.0, 5
    table = discrete_gaussian_table(sigma / math.sqrt(honest))
    source = stream()
    total = sum(sample_share(source, 50_000, table) for _ in range(honest))
    assert total.std() == pytest.approx(sigma, rel=0.02)
    assert stats.kstest((total + source.uniform(50_000) - 0.5) / sigma, "norm").pvalue > 1e-4


@given(
    sigma=st.floats(0.3, 20),
    parameters=st.integers(1, 10**7),
    num_sites=st.integers(3, 600),
)
@settings(deadline=None)
def test_a_chosen_grid_keeps_the_bound_and_cannot_overflow(sigma, parameters, num_sites):
    honest = num_sites // 3 + 1
    try:
        grid = shares.choose_grid(
            noise_multiplier=sigma, parameters=parameters, num_sites=num_sites, honest=honest
        )
    except ConfigError:
        return
    assert shares.LEAST_SITE_SIGMA <= grid.site_sigma <= shares.MOST_SITE_SIGMA
    assert num_sites * grid.limit < 2 ** (grid.field_bits - 1)
    assert grid.box + shares.tail_bound(grid.site_sigma) <= grid.limit
    assert grid.box >= 4 * grid.clip_units
    bounding = shares.bounding_noise_multiplier(sigma, grid.clip_units, parameters, honest)
    assert 0.94 * sigma < bounding < sigma


def test_the_usual_grids():
    """clip / grid of 2^13 at a million parameters adds less than 0.5 % to the sensitivity."""
    grid = shares.choose_grid(noise_multiplier=1.0, parameters=10**6, num_sites=10, honest=7)
    assert (grid.clip_units, grid.field_bits) == (8192, 21)
    assert shares.sensitivity_units(8192, 10**6) < 1.005 * 8192
    small = shares.choose_grid(noise_multiplier=1.0, parameters=2000, num_sites=6, honest=5)
    assert small.clip_units < 8192


@pytest.mark.parametrize(
    "changed",
    [{"noise_multiplier": 0.0}, {"parameters": 0}, {"honest": 11}, {"honest": 0}],
)
def test_a_grid_for_nonsense_is_refused(changed):
    asked = {"noise_multiplier": 1.0, "parameters": 100, "num_sites": 10, "honest": 7}
    with pytest.raises(ConfigError, match="expected noise_multiplier"):
        shares.choose_grid(**{**asked, **changed})


def test_a_grid_that_would_need_too_many_bits_is_refused():
    with pytest.raises(ConfigError, match="distributed noise"):
        shares.choose_grid(
            noise_multiplier=30.0, parameters=10**7, num_sites=10**6, honest=7 * 10**5
        )


@given(st.integers(0, 2**32), st.integers(1, 60))
@settings(max_examples=30)
def test_rounding_stretches_a_difference_by_no_more_than_the_bound(number, size):
    """Two neighbouring sums, rounded with the same stream, differ by at most the sensitivity."""
    clip_units = 64
    rng = np.random.default_rng(number)
    difference = rng.normal(size=size)
    difference *= clip_units / np.linalg.norm(difference)
    base = rng.normal(size=size) * 100
    one = round_to_grid(stream(number), base, 10**6)
    other = round_to_grid(stream(number), base + difference, 10**6)
    assert np.linalg.norm(other - one) <= shares.sensitivity_units(clip_units, size)


def test_rounding_is_unbiased_and_stays_in_the_box():
    values = np.full(100_000, 2.3)
    rounded = round_to_grid(stream(), values, 10)
    assert set(rounded.tolist()) == {2, 3}
    assert rounded.mean() == pytest.approx(2.3, abs=0.01)
    cut = round_to_grid(stream(), np.array([1e30, -1e30, 9.99, 10.0]), 10)
    assert cut.tolist()[:2] == [10, -10]
    assert np.abs(cut).max() <= 10


def test_rounding_refuses_what_is_not_finite():
    with pytest.raises(PrivacyError, match="finite"):
        round_to_grid(stream(), np.array([np.nan]), 10)


def test_the_slack_of_a_step_is_negligible():
    assert shares.step_slack(10**7, 1000) < 1e-17
