"""A study's noise: what it resolves to, and that every sum carries as much of it as was counted."""

from dataclasses import replace

import numpy as np
import pytest

from common.budget import (
    assert_resolved,
    contributors,
    grid_of,
    honest_sites,
    resolved,
    round_event,
    steps_of,
)
from common.config import Modality, Privacy, Study, Training
from common.errors import PrivacyError
from common.keys import new_identity
from common.privacy import accountant
from common.secagg.roster import Roster
from common.sums import parameters_of, policy_for


def study_of(mode, **privacy):
    return Study(
        name="x",
        classes=("a", "b"),
        modalities={"features_x": Modality(options={"dim": 3})},
        training=Training(num_server_rounds=4, local_steps=5),
        privacy=Privacy(mode=mode, **privacy),
    )


@pytest.mark.parametrize("mode", ["local", "distributed"])
@pytest.mark.parametrize("target", [1.0, 8.0])
def test_a_resolved_study_meets_its_target_and_hardly_less(mode, target):
    study = resolved(study_of(mode, target_epsilon=target), 6, 40)
    event = round_event(study, 6, 40).with_steps(steps_of(study))
    spent = accountant.epsilon([event], 1e-3, "person")
    assert 0.97 * target < spent <= target


def test_rounds_add_up_to_the_whole_run():
    study = resolved(study_of("local"), 6, 40)
    assert steps_of(study) == 20
    one = round_event(study, 6, 40)
    assert one.steps == 5
    by_round = accountant.epsilon([one] * 4, 1e-3, "person")
    assert by_round == pytest.approx(
        accountant.epsilon([one.with_steps(20)], 1e-3, "person"), rel=1e-6
    )


def test_without_privacy_nothing_is_resolved():
    study = study_of("none")
    assert resolved(study, 6, 40) is study


def test_too_little_noise_is_refused_and_says_what_it_costs():
    with pytest.raises(PrivacyError, match="above privacy"):
        resolved(study_of("local", noise_multiplier=0.3), 6, 40)


def test_more_noise_than_needed_is_kept():
    study = study_of("local", noise_multiplier=9.0)
    assert resolved(study, 6, 40) == study


def test_an_open_study_cannot_be_charged():
    with pytest.raises(PrivacyError, match="resolved first"):
        assert_resolved(Privacy(mode="local"))
    with pytest.raises(PrivacyError, match="resolved first"):
        round_event(study_of("local"), 6, 40)
    with pytest.raises(PrivacyError, match="resolved first"):
        grid_of(study_of("distributed"), 6, 40)


@pytest.mark.parametrize(("sites", "honest"), [(3, 3), (4, 2), (5, 3), (6, 4), (9, 5), (100, 34)])
def test_honest_sites_of_a_roster(sites, honest):
    assert honest_sites(sites) == honest


@pytest.mark.parametrize("sites", range(3, 40))
def test_every_sum_of_shared_noise_has_the_contributors_that_were_counted(sites):
    """However few sites the coordinator invites: fewer than t are refused by each of them."""
    study = replace(study_of("distributed", noise_multiplier=4.0))
    keys = {f"s{i:02d}": new_identity(f"s{i:02d}").public_key for i in range(sites)}
    policy = policy_for(study, Roster(keys))
    colluding = (sites - 1) // 3
    for cohort in range(policy.min_sites, sites + 1):
        assert policy.quorum(cohort) - colluding >= honest_sites(sites)
    assert policy.min_sites == contributors(sites) > 2 * sites / 3


def test_the_policy_binds_what_privacy_was_promised():
    keys = {f"s{i}": new_identity(f"s{i}").public_key for i in range(4)}
    roster = Roster(keys)
    base = resolved(study_of("local"), 4, parameters_of(study_of("local")))
    ids = {policy_for(base, roster).policy_id}
    for change in ({"target_epsilon": 7.9}, {"target_delta": 1e-4}, {"unit": "record"}):
        changed = replace(base, privacy=replace(base.privacy, **change))
        ids.add(policy_for(changed, roster).policy_id)
    assert len(ids) == 4


def test_noise_in_shares_fits_its_fields():
    study = resolved(study_of("distributed"), 6, 40)
    grid = grid_of(study, 6, 40)
    assert 6 * grid.limit < 1 << (grid.field_bits - 1)
    assert np.isfinite(grid.site_sigma)
