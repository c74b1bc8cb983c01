import math
import random
import time

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from common.errors import PrivacyError
from common.privacy import accountant, events, renyi
from common.privacy.accountant import delta_of, epsilon, merge, rdp_epsilon
from common.privacy.events import (
    DiscreteGaussianShare,
    ExactThroughSecureSum,
    Gaussian,
    PoissonSampledGaussian,
)
from common.privacy.renyi import Rate


def poisson(rate, sigma, steps, unit="person"):
    return PoissonSampledGaussian(rate, sigma, steps, unit)


def reference(history, delta, interval=1e-4):
    exact = PLDAccountant(value_discretization_interval=interval)
    for event in history:
        exact.compose(events.to_dp_event(event))
    return exact.get_epsilon(delta)


def random_history(seed):
    draw = random.Random(seed)
    kinds = [
        poisson(draw.choice([0.01, 0.05, 0.25]), draw.choice([0.8, 1.2, 3.0]), draw.randint(1, 60)),
        poisson(draw.uniform(0.01, 0.3), draw.uniform(1.0, 4.0), draw.randint(1, 40)),
        Gaussian(draw.uniform(5, 20), draw.randint(1, 5), "person"),
        ExactThroughSecureSum("counts", 3),
    ]
    return draw.choices(kinds, k=draw.randint(1, 5))


TWO_HUNDRED = [
    *range(6),
    *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 206)),
]


@pytest.mark.parametrize("seed", TWO_HUNDRED)
def test_epsilon_is_within_one_per_cent_of_the_composed_distributions(seed):
    history = [e for e in random_history(seed) if not isinstance(e, ExactThroughSecureSum)]
    found, exact = epsilon(history, 1e-5), reference(history, 1e-5)
    assert exact * (1 - 1e-4) <= found <= exact * 1.01 + 1e-6


@pytest.mark.parametrize(("sigma", "count", "delta"), [(2.0, 1, 1e-5), (4.0, 9, 1e-3), (1, 1, 0.1)])
def test_the_gaussian_mechanism_has_its_closed_form(sigma, count, delta):
    found = epsilon([Gaussian(sigma, count, "person")], delta)
    mu = math.sqrt(count) / sigma
    exact = norm.cdf(mu / 2 - found / mu) - math.exp(found) * norm.cdf(-mu / 2 - found / mu)
    assert delta * 0.99 <= exact <= delta * (1 + 1e-9)


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_pld_never_exceeds_rdp(seed):
    history = random_history(seed)
    cost = merge(history)
    by_pld = accountant._composed(cost.steps).get_epsilon_for_delta(1e-4) if cost.steps else 0
    assert by_pld <= rdp_epsilon(history, 1e-4) * (1 + 1e-6)
    assert epsilon(history, 1e-4) <= rdp_epsilon(history, 1e-4)


@pytest.mark.parametrize(("rate", "sigma"), [(0.25, 1.0), (0.01, 0.7), (0.5, 5.0), (1e-4, 1.0)])
def test_our_renyi_divergence_is_dp_accountings(rate, sigma):
    one = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma))
    theirs = RdpAccountant(renyi.ORDERS).compose(one).rdp
    ours = renyi.rdp_of_one_step(Rate("poisson", rate, sigma))
    assert np.allclose(ours, theirs, rtol=1e-6, atol=2e-12)
    assert (ours >= theirs - 1e-15).all()


@given(st.permutations(random_history(3) + random_history(4)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_events_does_not_matter(history):
    assert merge(history) == merge(random_history(3) + random_history(4))


def test_more_steps_less_noise_and_higher_rates_cost_more():
    base = epsilon([poisson(0.2, 1.5, 20)], 1e-4)
    assert epsilon([poisson(0.2, 1.5, 21)], 1e-4) > base
    assert epsilon([poisson(0.2, 1.4, 20)], 1e-4) > base
    assert epsilon([poisson(0.21, 1.5, 20)], 1e-4) > base
    assert epsilon([poisson(0.2, 1.5, 20)], 1e-5) > base


def test_an_empty_history_costs_nothing():
    assert epsilon([], 1e-5) == 0
    assert rdp_epsilon([], 1e-5) == 0
    assert epsilon([poisson(0.2, 0.0, 0), ExactThroughSecureSum("counts", 3)], 1e-5) == 0


def test_no_noise_costs_infinity():
    assert epsilon([poisson(0.01, 0.0, 1)], 0.5) == math.inf
    assert epsilon([Gaussian(0.0, 1, "person")], 0.5) == math.inf
    assert delta_of(merge([Gaussian(0.0, 1, "person")]), 3.0) == 1


EXTREME_SIGMAS = (5e-324, 1e-200, 1e-160, 1e-4, 1e-3, 1.0, 1e5, 1e308)


@pytest.mark.parametrize("unit", ["person", "record"])
@pytest.mark.parametrize("rate", [5e-324, 1e-300, 0.25, 1.0])
@pytest.mark.parametrize("sigma", EXTREME_SIGMAS)
def test_no_event_however_extreme_makes_a_history_cheaper(sigma, rate, unit):
    history = [poisson(0.25, 1.2, 20)]
    for event in (poisson(rate, sigma, 3, unit), Gaussian(sigma, 3, unit)):
        found = epsilon([*history, event], 1e-3, "person", 10)
        by_rdp = rdp_epsilon([*history, event], 1e-3, "person", 10)
        assert by_rdp * (1 + 1e-9) >= found >= epsilon(history, 1e-3) * (1 - 1e-9)
        assert (found == math.inf) == (sigma < accountant.LEAST_NOISE_MULTIPLIER)


def test_splitting_a_run_into_rounds_does_not_change_its_cost():
    whole = epsilon([poisson(0.25, 1.2, 60)], 1e-3)
    assert epsilon([poisson(0.25, 1.2, 1)] * 60, 1e-3) == whole


def test_the_question_takes_no_longer_for_a_million_rounds():
    epsilon([poisson(0.001, 1.0, 10)], 1e-5)
    start = time.process_time()
    assert 0 < epsilon([poisson(0.001, 1.0, 10**6)], 1e-5) < 300
    assert time.process_time() - start < 1.0


def test_a_full_batch_is_the_plain_gaussian():
    full, plain = poisson(1.0, 5.0, 10), Gaussian(5.0, 10, "person")
    assert merge([full]) == merge([plain])
    assert merge([full, plain]) == merge([Gaussian(5.0, 20, "person")])


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-3, 2.0, math.nan])
def test_a_delta_out_of_range_is_refused(delta):
    with pytest.raises(PrivacyError, match="δ"):
        epsilon([poisson(0.25, 1.2, 1)], delta)


def test_a_tiny_delta_is_answered_by_the_safe_bound():
    history = [poisson(0.25, 2.0, 10)]
    assert epsilon(history, 1e-14) == rdp_epsilon(history, 1e-14)


def test_a_share_costs_a_little_more_than_its_gaussian():
    share = DiscreteGaussianShare(0.25, 2.0, 30, "person", 7, 10, 8192, 10**6)
    plain = epsilon([poisson(0.25, 2.0, 30)], 1e-4)
    assert plain < epsilon([share], 1e-4) < plain * 1.01


def test_a_share_that_is_too_coarse_costs_infinity():
    share = DiscreteGaussianShare(0.25, 2.0, 1, "person", 7, 10, 4, 10)
    assert epsilon([share], 1e-4) == math.inf


def test_slack_is_taken_off_delta():
    def at_delta(delta):
        return math.log(1 / delta)

    found = accountant._less_slack(at_delta, 1e-8, 1e-3)
    assert at_delta(1e-3) < found
    assert at_delta(1e-3 - (1 + math.exp(found)) * 1e-8) <= found
    assert accountant._less_slack(at_delta, 1e-3, 1e-3) == math.inf


def test_records_of_an_unknown_number_say_nothing_about_a_person():
    assert epsilon([poisson(0.1, 2.0, 5, "record")], 1e-3, "person") == math.inf


def test_a_person_with_one_record_is_that_record():
    history = [poisson(0.1, 2.0, 5, "record")]
    by_person = epsilon(history, 1e-3, "person", records_per_person=1)
    assert by_person == pytest.approx(epsilon(history, 1e-3, "record"), rel=1e-3)


def test_a_person_with_several_records_pays_their_exact_mixture():
    """One step, integrated numerically: P is a mixture over the person's records in the step."""
    history = [poisson(0.3, 3.0, 1, "record")]
    found = epsilon(history, 1e-3, "person", records_per_person=4)
    at = np.linspace(-40, 50, 400_001)
    chances = binom.pmf(np.arange(5), 4, 0.3)
    with_person = sum(c * norm.pdf(at, k, 3.0) for k, c in enumerate(chances))
    without = norm.pdf(at, 0, 3.0)
    width = at[1] - at[0]
    remove = np.maximum(with_person - math.exp(found) * without, 0).sum() * width
    add = np.maximum(without - math.exp(found) * with_person, 0).sum() * width
    assert max(remove, add) == pytest.approx(1e-3, rel=0.01)
    assert max(remove, add) <= 1e-3 * (1 + 1e-6)
    assert found > 1.5 * epsilon(history, 1e-3, "record")
    assert found <= rdp_epsilon(history, 1e-3, "person", 4)


def test_a_record_in_a_step_by_person_pays_for_a_replaced_vector():
    history = [poisson(0.2, 3.0, 10)]
    by_record = epsilon(history, 1e-3, "record")
    assert epsilon(history, 1e-3) < by_record < epsilon([poisson(0.2, 1.5, 10)], 1e-3) * 1.2
    assert by_record <= rdp_epsilon(history, 1e-3, "record")
    full = epsilon([poisson(1.0, 8.0, 10)], 1e-3, "record")
    assert full == pytest.approx(epsilon([poisson(1.0, 4.0, 10)], 1e-3), rel=1e-6)


def test_delta_and_epsilon_are_each_others_inverse():
    cost = merge([poisson(0.25, 1.5, 30)])
    found = accountant.epsilon_of(cost, 1e-4)
    assert delta_of(cost, found) == pytest.approx(1e-4, rel=1e-3)
    assert delta_of(merge([]), 1.0) == 0
