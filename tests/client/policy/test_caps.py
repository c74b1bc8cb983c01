"""What a policy does further in: consent when data is read, a study's cap when it is charged."""

from dataclasses import replace

import pytest

from client.charge import charge
from client.folder import SiteFolder
from common.config import SitePolicy
from common.errors import BudgetSpent, DataError
from common.models.registry import build
from common.parameters import to_arrays

PRIVATE = ("privacy.mode=local", "training.num_server_rounds=1")


def test_the_cap_over_one_study_is_charged_against_before_data_is_read(lay_table):
    table = lay_table(*PRIVATE)
    sums, _ = table.sums()
    found = table.session("hill")
    policy = replace(found.site.policy, max_epsilon=50.0, max_epsilon_per_study=0.5)
    site = SiteFolder(found.site.root, policy)
    with (
        pytest.raises(BudgetSpent, match=r"study 'tiny' may spend ε = 0\.5"),
        charge(replace(found, site=site), table.context(sums, "train", 1, b"m" * 32)),
    ):
        raise RuntimeError("data was read")


def test_another_study_may_still_spend_what_one_may_not(lay_table):
    table = lay_table(*PRIVATE)
    for site in table.sites:
        table.change_policy(
            site, max_epsilon=50.0, max_epsilon_per_study=8.0, studies=("tiny", "b")
        )
    model = to_arrays(build(table.study))
    table.sums(run="first")[0].over("train", 1, model)
    with pytest.raises(BudgetSpent):
        table.sums(run="second")[0].over("train", 1, {n: v + 1 for n, v in model.items()})
    table.config["name"] = "b"
    renamed = replace(table.study, name="b")
    table.sums(run="third", study=renamed)[0].over("train", 1, {n: v + 2 for n, v in model.items()})


def test_words_of_consent_reach_the_manifest(lay_table):
    table = lay_table()
    assert len(table.session("hill").train_data.sample_ids) > 0
    table.change_policy("hill", consent_scopes={"care": ["broad"]})
    assert len(table.session("hill").train_data.sample_ids) > 0
    table.change_policy("hill", consent_scopes={"research": ["broad"]})
    with pytest.raises(DataError, match="consent does not cover 'research'"):
        table.session("hill").train_data  # noqa: B018


def test_the_default_policy_caps_every_study_at_nothing():
    assert SitePolicy().study_cap == 0.0
