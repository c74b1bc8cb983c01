"""Throw-away sites: what is prepared, and what cannot be."""

import pytest

from common.errors import ConfigError
from common.keys import read_identity, read_roster
from common.settings import load_policy
from simulations.sites import count_crowd, find_manifests, prepare_federation


def test_a_federation_has_a_folder_a_key_a_roster_and_a_policy_for_each_site(
    tiny_data, tiny_study, tmp_path
):
    made = prepare_federation(tiny_study("privacy.mode=local"), tiny_data.root, tmp_path / "f")
    roster = read_roster(tmp_path / "f" / "roster.json")
    assert made.sites == tuple(roster) == ("harbour", "hill", "lake", "mill")
    for name in made.sites:
        folder = tmp_path / "f" / "sites" / name
        assert read_identity(folder / "identity.key", name).public_key == roster[name]
        assert read_roster(folder / "roster.json").digest == roster.digest
        policy = load_policy(folder / "policy.yaml")
        assert (policy.site, policy.purposes, policy.max_epsilon) == (name, ("research",), 8.0)
        assert not policy.allow_without_privacy
        assert policy.reproducible_seed is None


def test_a_site_declares_the_persons_who_train_and_the_modalities_that_it_has(
    tiny_data, tiny_study, tmp_path
):
    made = prepare_federation(tiny_study(), tiny_data.root, tmp_path / "f")
    policies = {n: load_policy(tmp_path / "f" / "sites" / n / "policy.yaml") for n in made.sites}
    assert all(policy.declared_persons == 4 for policy in policies.values())
    assert all(policy.declared_records == 32 for policy in policies.values())
    assert policies["mill"].modalities == ("features_a",)
    assert policies["hill"].modalities == ("features_a", "features_b")
    assert [p.fold_offset for p in policies.values()] == [0, 6, 12, 18]


def test_the_persons_counted_are_those_that_will_train(tiny_data, tiny_study, lay_table):
    for fold in range(3):
        table = lay_table(f"split.fold={fold}")
        for site in table.sites:
            session = table.session(site)
            persons = {int(p) for p in session.train_data.person_N}
            assert session.site.policy.declared_persons == len(persons)
            assert session.site.policy.declared_records == len(session.train_data)
    crowd = count_crowd(tiny_study("split.folds=0"), find_manifests(tiny_data.root)["hill"], 0)
    assert (crowd.persons, crowd.training_persons, crowd.training_records) == (6, 6, 48)


def test_a_federation_is_never_written_over(tiny_data, tiny_study, tmp_path):
    prepare_federation(tiny_study(), tiny_data.root, tmp_path / "f")
    kept = (tmp_path / "f" / "sites" / "hill" / "identity.key").read_bytes()
    with pytest.raises(ConfigError, match="already holds a federation"):
        prepare_federation(tiny_study(), tiny_data.root, tmp_path / "f")
    assert (tmp_path / "f" / "sites" / "hill" / "identity.key").read_bytes() == kept


def test_too_few_sites_are_refused(tiny_data, tiny_study, tmp_path):
    with pytest.raises(ConfigError, match="has 4 sites; the study needs 5"):
        prepare_federation(
            tiny_study("secure_aggregation.min_sites=5"), tiny_data.root, tmp_path / "f"
        )


def test_a_folder_without_recordings_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="tacit data import"):
        find_manifests(tmp_path)


def test_a_site_whose_folder_cannot_be_its_name_is_refused_before_anything_is_written(
    own_data, tiny_study, tmp_path
):
    (own_data.root / "sites" / "hill").rename(own_data.root / "sites" / "St. Anna's")
    with pytest.raises(ConfigError, match="Anna"):
        prepare_federation(tiny_study(), own_data.root, tmp_path / "f")
    assert not (tmp_path / "f").exists()
