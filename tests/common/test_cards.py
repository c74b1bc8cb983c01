"""Cards of sites and coordinators: what is written is read; what was changed is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.cards import (
    CoordinatorCard,
    SiteCard,
    key_fingerprint,
    read_coordinator_card,
    read_site_card,
    write_coordinator_card,
    write_site_card,
)
from common.errors import ConfigError
from common.secagg.channel import Identity

NORTH = Identity("north", bytes(range(32)))
HUB = Identity("hub", bytes(range(1, 33)))
NODE_KEY = "ecdsa-sha2-nistp384 AAAA"


def site_card(path: Path) -> SiteCard:
    card = SiteCard("north", NORTH.public_key, NODE_KEY)
    write_site_card(path, card, NORTH)
    return card


def coordinator_card(path: Path, number: int = 1) -> CoordinatorCard:
    sites = {"north": NORTH.public_key, "south": Identity("south", b"s" * 32).public_key}
    card = CoordinatorCard("hub", "hub.example:443", HUB.public_key, "PEM", number, sites)
    write_coordinator_card(path, card, HUB)
    return card


def changed(path: Path, **fields: object) -> Path:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return path


def test_a_site_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert site_card(tmp_path / "card.json") == read_site_card(tmp_path / "card.json")


def test_a_coordinator_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert coordinator_card(tmp_path / "card.json") == read_coordinator_card(tmp_path / "card.json")


@pytest.mark.parametrize(
    "fields",
    [
        {"site": "south"},
        {"site": "../north"},
        {"identity_key": HUB.public_key.hex()},
        {"identity_key": "00"},
        {"node_key": "ecdsa-sha2-nistp384 BBBB"},
        {"node_key": ""},
        {"node_key": 7},
        {"signature": "00" * 64},
        {"signature": None},
        {"version": 2},
        {"card": "coordinator"},
        {"also": "this"},
    ],
)
def test_a_changed_site_card_is_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    site_card(tmp_path / "card.json")
    with pytest.raises(ConfigError, match=r"is not a site's card"):
        read_site_card(changed(tmp_path / "card.json", **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"address": "elsewhere.example:443"},
        {"ca_certificate": "OTHER"},
        {"number": 2},
        {"number": 0},
        {"number": True},
        {"sites": {"north": NORTH.public_key.hex()}},
        {"sites": {"north": NORTH.public_key.hex(), "south": NORTH.public_key.hex()}},
        {"sites": {"a b": NORTH.public_key.hex()}},
        {"sites": []},
    ],
)
def test_a_changed_coordinator_card_is_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    coordinator_card(tmp_path / "card.json")
    with pytest.raises(ConfigError, match=r"is not a coordinator's card"):
        read_coordinator_card(changed(tmp_path / "card.json", **fields))


def test_a_card_is_signed_by_the_key_that_it_names(tmp_path: Path) -> None:
    card = SiteCard("north", NORTH.public_key, NODE_KEY)
    with pytest.raises(ConfigError, match=r"another key"):
        write_site_card(tmp_path / "card.json", card, HUB)
    assert not (tmp_path / "card.json").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", "[" * 100_000, "\x00"])
def test_what_is_not_a_card_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "card.json").write_text(content)
    with pytest.raises(ConfigError, match=r"is not a site's card"):
        read_site_card(tmp_path / "card.json")


def test_a_missing_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"card\.json cannot be read"):
        read_site_card(tmp_path / "card.json")


def test_a_file_too_large_for_a_card_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "card.json").open("wb") as out:
        out.truncate(10 << 30)
    with pytest.raises(ConfigError, match=r"over \d+ bytes"):
        read_site_card(tmp_path / "card.json")


@given(st.sampled_from(["site", "identity_key", "node_key"]), st.text(min_size=1, max_size=8))
def test_a_fingerprint_changes_with_every_field(field: str, more: str) -> None:
    plain = {"site": "north", "identity_key": NORTH.public_key, "node_key": NODE_KEY}
    addition = more.encode() if field == "identity_key" else more
    other = {**plain, field: plain[field] + addition}  # type: ignore[operator]
    assert SiteCard(**plain).fingerprint != SiteCard(**other).fingerprint  # type: ignore[arg-type]


def test_a_coordinators_fingerprint_does_not_change_with_its_sites(tmp_path: Path) -> None:
    card = coordinator_card(tmp_path / "a.json")
    later = CoordinatorCard(card.name, card.address, card.key, card.ca_certificate, 2, {})
    assert card.fingerprint == later.fingerprint


def test_fingerprints_are_eight_groups_of_four_digits() -> None:
    groups = key_fingerprint("north", NORTH.public_key).split("-")
    assert len(groups) == 8
    assert all(len(group) == 4 for group in groups)
