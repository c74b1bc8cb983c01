import pytest

from common.privacy import accountant
from common.privacy.events import DiscreteGaussianShare, Gaussian, PoissonSampledGaussian
from common.privacy.onlookers import BROKEN, COLLUDING, OUTSIDE, epsilon_by_onlooker, seen_by

SHARE = DiscreteGaussianShare(0.25, 2.0, 30, "person", 4, 9, 2**13, 1000)


def test_more_shares_hide_a_unit_better():
    found = epsilon_by_onlooker([SHARE], 1e-3)
    assert found[OUTSIDE] < found[COLLUDING] < found[BROKEN]
    assert found[COLLUDING] == accountant.epsilon([SHARE], 1e-3)


def test_the_outside_sees_the_noise_of_all_and_a_break_leaves_the_sites_own():
    found = epsilon_by_onlooker([SHARE], 1e-3)
    all_noise = accountant.epsilon([PoissonSampledGaussian(0.25, 3.0, 30, "person")], 1e-3)
    own_noise = accountant.epsilon([PoissonSampledGaussian(0.25, 1.0, 30, "person")], 1e-3)
    assert found[OUTSIDE] == pytest.approx(all_noise, rel=0.01)
    assert found[BROKEN] == pytest.approx(own_noise, rel=0.01)


@pytest.mark.parametrize("contributors", [1, 4, 9, 20])
def test_a_sites_own_noise_stays_what_it_is(contributors):
    view = seen_by(SHARE, contributors)
    own = view.noise_multiplier**2 / view.honest
    assert own == pytest.approx(SHARE.noise_multiplier**2 / SHARE.honest)


def test_full_noise_costs_the_same_against_everybody():
    events = [PoissonSampledGaussian(0.25, 2.0, 30, "person"), Gaussian(4.0, 1, "person")]
    assert len(set(epsilon_by_onlooker(events, 1e-3).values())) == 1
