import time

import pytest

from common.errors import ConfigError
from common.privacy import plan
from common.privacy.events import ExactThroughSecureSum, PoissonSampledGaussian

RUNS = [(8.0, 1e-3, 0.25, 60), (1.0, 1e-3, 0.25, 60), (3.0, 1e-5, 0.05, 500), (2.0, 1e-4, 1.0, 20)]


@pytest.mark.parametrize("run", RUNS)
def test_a_calibrated_run_meets_its_budget_and_wastes_little(run):
    sigma = plan.calibrate(*run)
    assert 0.99 * run[0] <= plan.epsilon(sigma, *run[1:]) <= run[0]
    assert round(sigma, plan.SIGMA_DECIMALS) == sigma


def test_calibration_takes_less_than_a_second():
    plan.calibrate(*RUNS[0])
    start = time.process_time()
    plan.calibrate(4.0, 1e-3, 0.25, 61)
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize(
    "run",
    [
        (0.0, 1e-3, 0.25, 6),
        (1.0, 0.0, 0.25, 6),
        (1.0, 1e-3, 0.0, 6),
        (1.0, 1e-3, 1.5, 6),
        (1, 0.1, 1, 0),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(run):
    with pytest.raises(ConfigError, match="expected target_epsilon"):
        plan.calibrate(*run)


def test_a_budget_that_no_noise_meets_is_refused():
    with pytest.raises(ConfigError, match="no noise multiplier"):
        plan.calibrate(1e-9, 1e-10, 1.0, 10**6)


def test_the_largest_affordable_number_of_rounds_is_the_largest():
    one = PoissonSampledGaussian(0.25, 1.5, 3, "person")
    more = plan.affordable_rounds((one, one), one, 4.0, 1e-3, "person")
    spent = [plan.epsilon(1.5, 1e-3, 0.25, 3 * (2 + rounds)) for rounds in (more, more + 1)]
    assert spent[0] <= 4.0 < spent[1]


def test_nothing_is_affordable_where_one_step_is_too_much():
    one = PoissonSampledGaussian(1.0, 0.5, 1, "person")
    assert plan.affordable_rounds((), one, 0.1, 1e-5, "person") == 0


def test_without_a_cap_or_a_cost_no_number_of_rounds_is_the_last():
    one = PoissonSampledGaussian(0.25, 1.5, 3, "person")
    assert plan.affordable_rounds((), one, float("inf"), 1e-3, "person") is None
    exact = ExactThroughSecureSum("counts", 3)
    assert plan.affordable_rounds((), exact, 4.0, 1e-3, "person") is None


@pytest.mark.parametrize(("epsilon", "right"), [(1.0, 56), (3.0, 65), (8.0, 80)])
def test_odds_of_the_gaussian_mechanism(epsilon, right):
    assert plan.right_guesses(epsilon, 1e-5) == right


def test_odds_grow_with_epsilon_and_end_at_certainty():
    odds = [plan.right_guesses(epsilon, 1e-4) for epsilon in (0.01, 0.5, 2, 8, 30, 1000)]
    assert odds == sorted(odds)
    assert odds[0] >= 50
    assert odds[-1] == 100
    assert plan.right_guesses(float("inf"), 1e-4) == 100


@pytest.mark.parametrize(("delta", "is_small"), [(1e-3, True), (1e-2, False), (5e-3, False)])
def test_delta_is_measured_by_the_number_of_persons(delta, is_small):
    assert plan.check_delta(delta, 100) is is_small


@pytest.mark.parametrize(("delta", "persons"), [(0.011, 100), (0.0, 100), (0.5, 0)])
def test_a_delta_that_protects_nobody_is_refused(delta, persons):
    with pytest.raises(ConfigError, match="target_delta"):
        plan.check_delta(delta, persons)
