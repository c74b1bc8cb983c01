"""The statistics of an audit, on mechanisms of which the truth is known."""

import math

import numpy as np
import pytest

from common.errors import ConfigError
from common.privacy import audit
from common.privacy.audit.canaries import fit
from common.privacy.audit.check import Check

SIGMA, NORM = 1.5, 0.5
CANARIES, OTHERS = 6, 2


def released(draw, steps, *, sigma=SIGMA, norm=NORM, carry=0.0):
    """An ideal mechanism along orthonormal directions: canaries of exactly C in noise of σC."""
    coin_NM = draw.random((steps, CANARIES)) < 0.5
    score_NK = draw.normal(0, sigma * NORM, (steps, CANARIES + OTHERS)) + 3.0
    score_NK[:, :CANARIES] += norm * coin_NM
    score_NK[1:, -1] += carry * coin_NM[:-1, 0]
    return score_NK, coin_NM


def told(seed, **fault):
    draw = np.random.default_rng(seed)
    steps = audit.steps_needed(SIGMA, CANARIES)
    score_NK, coin_NM = released(draw, steps, **fault)
    return audit.told(score_NK, coin_NM, noise_multiplier=SIGMA, max_grad_norm=NORM)


def noise(seed, steps=20, values=500, sigma=SIGMA):
    return np.random.default_rng(seed).normal(0, sigma, (steps, values)).astype(np.float32)


def names(checks):
    return {check.name for check in checks if not check.holds}


def test_no_false_alarm_in_two_hundred_ideal_mechanisms():
    """The worst that is allowed passes: noise of exactly σC, a canary of exactly C."""
    for seed in range(200):
        assert names(audit.told_checks(told(seed))) == set()
        assert names(audit.noise_checks(noise(seed), SIGMA)) == set()
        quiet = released(np.random.default_rng(seed), 60, sigma=0.05)
        assert audit.carry_check(*quiet).holds
        joined = np.random.default_rng(seed).random((64, 8)) < 0.25
        assert names(audit.sampling_checks(joined, 0.25)) == set()


FAULTS = {
    "half the noise": ({"sigma": SIGMA / 2}, "telling apart"),
    "three quarters of the noise": ({"sigma": SIGMA * 0.6}, "telling apart"),
    "twice the norm": ({"norm": 2 * NORM}, "telling apart"),
    "ten times the norm": ({"norm": 10 * NORM}, "clipping"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_forty_times_of_forty(name):
    fault, check = FAULTS[name]
    assert all(check in names(audit.told_checks(told(seed, **fault))) for seed in range(40))


def test_less_noise_is_found_forty_times_of_forty():
    for seed in range(40):
        assert names(audit.noise_checks(noise(seed, sigma=0.9 * SIGMA), SIGMA)) == {"noise"}


def test_more_noise_is_no_fault():
    assert names(audit.noise_checks(noise(1, sigma=2 * SIGMA), SIGMA)) == set()


def test_noise_that_comes_twice_is_found():
    twice = noise(1)
    twice[7] = twice[3]
    assert names(audit.noise_checks(twice, SIGMA)) == {"fresh noise"}
    twice[7] = -0.5 * twice[3]
    assert "fresh noise" in names(audit.noise_checks(twice, SIGMA))


def test_silence_and_what_is_no_number_fail():
    assert "noise" in names(audit.noise_checks(np.zeros((5, 9), np.float32), 1.0))
    broken = noise(1)
    broken[0, 0] = np.nan
    assert names(audit.noise_checks(broken, SIGMA)) == {"noise", "fresh noise"}


def test_what_a_step_leaves_to_the_next_is_found_forty_times_of_forty():
    for seed in range(40):
        draw = np.random.default_rng(seed)
        assert not audit.carry_check(*released(draw, 60, sigma=0.05, carry=0.4 * NORM)).holds


def test_a_canary_in_a_silent_mechanism_is_told_for_sure():
    score_NK, coin_NM = released(np.random.default_rng(1), 60, sigma=0.0)
    found = audit.told(np.rint(score_NK * 8) / 8, coin_NM, noise_multiplier=1.0, max_grad_norm=NORM)
    assert found.mu > 1e6
    assert names(audit.told_checks(found)) == {"telling apart"}


def test_mu_is_measured_and_bounded_from_below():
    found = [told(seed) for seed in range(100)]
    assert np.mean([one.mu for one in found]) == pytest.approx(1 / SIGMA, rel=0.03)
    spread = np.std([one.mu for one in found])
    assert spread == pytest.approx(found[0].standard_error, rel=0.25)
    assert sum(one.mu_lower > one.mu_claimed for one in found) <= 1
    assert all(0 <= one.mu_lower < one.mu for one in found)


def test_a_bound_below_zero_is_zero():
    found = audit.Told(0.1, 0.2, 1.0, 0.1, 40)
    assert found.mu_lower == 0.0
    assert audit.Told(math.inf, math.nan, 1.0, 0.1, 40).mu_lower == math.inf


@pytest.mark.parametrize(("rate", "real"), [(0.02, 0.1), (0.25, 0.4), (0.9, 1.0), (0.5, 0.35)])
def test_tosses_at_another_rate_are_found(rate, real):
    for seed in range(40):
        joined = np.random.default_rng(seed).random((64, 8)) < real
        assert "sampling rate" in names(audit.sampling_checks(joined, rate))


def test_no_false_alarm_of_sampling_at_any_rate():
    for seed in range(200):
        draw = np.random.default_rng(seed)
        rate = float(draw.choice([0.001, 0.02, 0.1, 0.5, 0.95]))
        assert names(audit.sampling_checks(draw.random((64, 8)) < rate, rate)) == set()


def test_batches_of_one_size_and_units_that_stand_together_are_found():
    draw = np.random.default_rng(1)
    fixed = draw.permuted(np.tile(np.arange(8) < 2, (64, 1)), axis=1)
    assert names(audit.sampling_checks(fixed, 0.25)) == {"sampling alone"}
    together = np.repeat(draw.random((64, 1)) < 0.25, 8, axis=1)
    assert "sampling alone" in names(audit.sampling_checks(together, 0.25))


def test_a_fit_returns_what_was_put_in():
    draw = np.random.default_rng(3)
    coin_NM = draw.random((500, 3)) < 0.5
    effect_MK = np.array([[1.0, 0.0], [0.5, -2.0], [0.0, 3.0]])
    score_NK = 7 + coin_NM @ effect_MK + draw.normal(0, 0.5, (500, 2))
    found = fit(score_NK, coin_NM)
    assert found.effect_MK == pytest.approx(effect_MK, abs=0.2)
    assert found.deviation == pytest.approx(0.5, rel=0.1)
    assert found.spread_M == pytest.approx(2 / math.sqrt(500), rel=0.1)


@pytest.mark.parametrize("coins", [np.ones((60, 2), bool), np.eye(4, dtype=bool)])
def test_a_fit_needs_coins_that_fall_both_ways_and_steps_enough(coins):
    with pytest.raises(ConfigError, match="raise --repetitions"):
        fit(np.zeros((len(coins), 2)), coins)


@pytest.mark.parametrize(
    ("measured", "bound", "holds"),
    [
        (1.0, "at least", True),
        (0.9, "at least", False),
        (1.1, "at most", False),
        (math.nan, "at least", False),
        (math.nan, "at most", False),
        (math.inf, "at most", False),
    ],
)
def test_a_check_holds_only_within_its_bound(measured, bound, holds):
    check = Check("x", "what", measured, bound, 1.0, "it is broken")
    assert check.holds == holds
    assert check.verdict == ("holds" if holds else "it is broken")
