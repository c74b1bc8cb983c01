"""The trade-off curve and the odds: never above what is true, and exact for a Gaussian."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from common.privacy.accountant import deltas_of, epsilon_of, merge
from common.privacy.events import Gaussian, PoissonSampledGaussian
from common.privacy.tradeoff import right_of_hundred, trade_off


@pytest.mark.parametrize("sigma", [0.7, 1.0, 3.0])
def test_the_curve_of_a_gaussian_is_its_closed_form_from_below(sigma):
    points = trade_off(merge([Gaussian(sigma, 1, "person")]))
    alpha = np.array([point.alpha for point in points])
    beta = np.array([point.beta for point in points])
    with np.errstate(invalid="ignore"):
        true = norm.cdf(norm.ppf(1 - alpha) - 1 / sigma)
    assert (beta <= true + 1e-9).all()
    assert (beta >= true - 0.02).all()


def test_the_odds_of_a_gaussian_are_its_closed_form():
    cost = merge([Gaussian(2.0, 1, "person")])
    assert right_of_hundred(cost) == math.ceil(100 * norm.cdf(1 / 4))


def test_nothing_released_is_a_coin_and_no_noise_is_certainty():
    assert right_of_hundred(merge([])) == 50
    assert [p.beta for p in trade_off(merge([]), 3)] == [1.0, 0.5, 0.0]
    exact = merge([Gaussian(0.0, 1, "person")])
    assert right_of_hundred(exact) == 100
    assert {p.beta for p in trade_off(exact)} == {0.0}


def test_the_curve_falls_is_convex_and_more_steps_lower_it():
    few = trade_off(merge([PoissonSampledGaussian(0.25, 1.5, 10, "person")]))
    many = trade_off(merge([PoissonSampledGaussian(0.25, 1.5, 80, "person")]))
    for points in (few, many):
        slopes = np.diff([point.beta for point in points])
        assert (slopes <= 1e-12).all()
        assert (np.diff(slopes) >= -1e-6).all()
    assert all(m.beta <= f.beta + 2e-3 for f, m in zip(few, many, strict=True))


def test_no_test_beats_the_curve_by_simulation():
    """The likelihood test on sampled sums, with the unit and without, stays above the curve."""
    rng = np.random.default_rng(0)
    q, sigma, steps, runs = 0.3, 1.0, 20, 4000
    joins = rng.random((runs, steps)) < q
    with_unit = joins + sigma * rng.normal(size=(runs, steps))
    without = sigma * rng.normal(size=(runs, steps))

    def score(x):
        return np.log1p(q * np.expm1((2 * x - 1) / (2 * sigma**2))).sum(axis=1)

    points = trade_off(merge([PoissonSampledGaussian(q, sigma, steps, "person")]))
    for point in points[5:60:5]:
        level = np.quantile(score(without), 1 - point.alpha)
        missed = (score(with_unit) <= level).mean()
        assert missed >= point.beta - 0.03


def test_deltas_agree_with_epsilon():
    cost = merge([PoissonSampledGaussian(0.25, 1.5, 40, "person")])
    epsilon = epsilon_of(cost, 1e-4)
    below, at, above = deltas_of(cost, [epsilon * 0.9, epsilon, epsilon * 1.1])
    assert above < at <= 1e-4 * 1.0001 < below
