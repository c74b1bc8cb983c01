"""A site from nothing: what `init` writes, what it refuses, and that it never overwrites."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from client.folder import open_site
from client.policy import gate_settings, gate_study
from client.policy.schema import policy_schema
from client.site.folder import CARD, NODE_KEY, RUNTIME_SECRET, SCHEMA, Wishes, init_site
from client.site.keys import read_node_key
from common.approval import Ethics
from common.cards import read_site_card
from common.errors import ConfigError, PolicyRefused
from common.keys import read_identity
from common.settings import load_study

SECRETS = ("identity.key", NODE_KEY, RUNTIME_SECRET)


def made(tmp_path: Path, **wishes: object) -> Path:
    init_site(tmp_path / "north", Wishes("north", 40, **wishes))  # type: ignore[arg-type]
    return tmp_path / "north"


def test_every_secret_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    root = made(tmp_path)
    assert root.stat().st_mode & 0o777 == 0o700
    assert {name: (root / name).stat().st_mode & 0o777 for name in SECRETS} == dict.fromkeys(
        SECRETS, 0o600
    )


def test_the_card_holds_the_public_halves_and_no_secret(tmp_path: Path) -> None:
    root = made(tmp_path)
    card = read_site_card(root / CARD)
    assert card.identity_key == read_identity(root / "identity.key", "north").public_key
    assert card.node_key == read_node_key(root / NODE_KEY)
    private = [(root / name).read_text().strip() for name in SECRETS]
    others = [path for path in root.rglob("*") if path.is_file() and path.name not in SECRETS]
    assert not [path for path in others if any(secret in path.read_text() for secret in private)]


def test_two_sites_share_no_secret(tmp_path: Path) -> None:
    one, two = made(tmp_path / "a"), made(tmp_path / "b")
    assert all((one / name).read_bytes() != (two / name).read_bytes() for name in SECRETS)


def test_a_new_policy_is_read_and_refuses_every_study(tmp_path: Path) -> None:
    policy = open_site(made(tmp_path)).policy
    assert (policy.site, policy.declared_persons, policy.purposes) == ("north", 40, ())
    assert (policy.studies, policy.ethics, policy.suite) == ((), Ethics(), "mlkem768_x25519")
    assert not policy.allow_without_privacy


def test_what_the_operator_says_stands_in_the_policy(tmp_path: Path) -> None:
    root = made(tmp_path, manifest="/data/it's.csv", purposes=("research", "care"), max_epsilon=2.5)
    policy = open_site(root).policy
    assert policy.manifest == "/data/it's.csv"
    assert policy.purposes == ("research", "care")
    assert policy.max_epsilon == 2.5


def test_a_policy_that_was_wished_for_in_full_lets_its_study_pass_and_no_other(
    tmp_path: Path,
) -> None:
    said = {"studies": ("demo",), "ethics": "EK '7", "ethics_until": "2027-06-30"}
    root = made(tmp_path, purposes=("research",), **said)
    policy, day = open_site(root).policy, date(2026, 11, 23)
    study = load_study("demo", ("secure_aggregation.suite=mlkem768_x25519",))
    gate_study(policy, study, day)
    gate_settings(policy, ("privacy.mode=distributed",), load_study("demo", ()))
    for other in (load_study("demo"), replace(study, name="other"), replace(study, purpose="care")):
        with pytest.raises(PolicyRefused):
            gate_study(policy, other, day)
    with pytest.raises(PolicyRefused):
        gate_settings(policy, ("seed=1",), study)


def test_a_wish_for_a_day_that_is_none_makes_no_site(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="until as a day like"):
        made(tmp_path, ethics="EK 7", ethics_until="next year")


def test_the_schema_stands_beside_the_policy_that_names_it(tmp_path: Path) -> None:
    root = made(tmp_path)
    first = (root / "policy.yaml").read_text().splitlines()[0]
    assert first.endswith(f"$schema={SCHEMA}")
    assert json.loads((root / SCHEMA).read_text()) == policy_schema()


@pytest.mark.parametrize("persons", [1, 7, 40, 100, 101, 12_345])
def test_delta_protects_every_person(tmp_path: Path, persons: int) -> None:
    init_site(tmp_path / "north", Wishes("north", persons))
    assert open_site(tmp_path / "north").policy.delta <= 0.1 / persons * (1 + 1e-9)


def test_a_second_init_overwrites_nothing(tmp_path: Path) -> None:
    root = made(tmp_path)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"already there"):
        init_site(root, Wishes("south", 10))
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["", "no rth", "../north", "n" * 65, "nörth", "a\nsite: b"])
def test_a_name_that_does_not_fit_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"policy\.yaml"):
        init_site(tmp_path / "here" / "site", Wishes(name, 10))
    assert list((tmp_path / "here").iterdir()) == []


def test_the_units_name_the_folder_and_no_secret(tmp_path: Path) -> None:
    root = made(tmp_path)
    units = {path.name: path.read_text() for path in (root / "systemd").iterdir()}
    assert set(units) == {"tacit-supernode-north.service", "tacit-runner-north.service"}
    for name, text in units.items():
        assert f"site {name.split('-')[1]} {root}" in text
        assert "{" not in text
        assert "LimitCORE=0" in text
