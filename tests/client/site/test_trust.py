"""Whom a site trusts: what is offered, what is refused, and that nothing changes by itself."""

from dataclasses import replace
from pathlib import Path

import pytest

from client.site.folder import CARD, Wishes, init_site
from client.site.trust import (
    changes,
    confirm_fingerprint,
    offered_card,
    pin,
    pinned_card,
)
from common.cards import CoordinatorCard, read_site_card, write_coordinator_card
from common.errors import ConfigError, PolicyRefused
from common.keys import read_roster
from common.secagg.channel import Identity

HUB = Identity("hub", b"h" * 32)
SOUTH = Identity("south", b"s" * 32)
EAST = Identity("east", b"e" * 32)


@pytest.fixture
def north(tmp_path: Path) -> Path:
    init_site(tmp_path / "north", Wishes("north", 40))
    return tmp_path / "north"


def written(path: Path, card: CoordinatorCard, by: Identity = HUB) -> Path:
    write_coordinator_card(path, card, by)
    return path


def card_of(north: Path, **changed: object) -> CoordinatorCard:
    own = read_site_card(north / CARD).identity_key
    sites = {"north": own, "south": SOUTH.public_key, "east": EAST.public_key}
    card = CoordinatorCard("hub", "hub.example:443", HUB.public_key, "PEM", 1, sites)
    return replace(card, **changed)  # type: ignore[arg-type]


def pinned(north: Path, card: CoordinatorCard) -> Path:
    path = written(north.parent / "hub.json", card)
    pin(north, offered_card(north, path), path)
    return north


def test_a_confirmed_card_becomes_the_roster(north: Path) -> None:
    card = card_of(north)
    pinned(north, card)
    assert pinned_card(north) == card
    assert dict(read_roster(north / "roster.json")) == dict(card.sites)
    assert (north / "ca.crt").read_text() == "PEM"


def test_nothing_is_pinned_before(north: Path) -> None:
    offered_card(north, written(north.parent / "hub.json", card_of(north)))
    assert pinned_card(north) is None
    assert not (north / "roster.json").exists()


def test_changes_name_who_is_new_gone_or_has_another_key(north: Path) -> None:
    pinned(north, card_of(north))
    sites = dict(card_of(north).sites) | {"south": HUB.public_key, "west": b"w" * 32}
    del sites["east"]
    found = {c.site: c.change for c in changes(north, card_of(north, number=2, sites=sites))}
    assert found == {"east": "gone", "north": "same", "south": "another key", "west": "new"}


def test_a_card_without_this_site_is_refused(north: Path) -> None:
    sites = {"south": SOUTH.public_key, "east": EAST.public_key}
    path = written(north.parent / "hub.json", card_of(north, sites=sites))
    with pytest.raises(PolicyRefused, match=r"has no site north"):
        offered_card(north, path)


def test_a_card_with_another_key_for_this_site_is_refused(north: Path) -> None:
    sites = {**card_of(north).sites, "north": b"n" * 32}
    path = written(north.parent / "hub.json", card_of(north, sites=sites))
    with pytest.raises(PolicyRefused, match=r"has another key for north"):
        offered_card(north, path)


def test_another_coordinator_is_refused(north: Path) -> None:
    pinned(north, card_of(north))
    other = Identity("hub", b"o" * 32)
    card = card_of(north, key=other.public_key, number=9)
    with pytest.raises(PolicyRefused, match=r"another coordinator"):
        offered_card(north, written(north.parent / "other.json", card, other))


@pytest.mark.parametrize("changed", [{"number": 1}, {"number": 2, "address": "evil.example:443"}])
def test_an_older_card_or_two_of_one_number_are_refused(
    north: Path, changed: dict[str, object]
) -> None:
    pinned(north, card_of(north, number=2))
    with pytest.raises(PolicyRefused, match=r"already confirmed number 2"):
        offered_card(north, written(north.parent / "old.json", card_of(north, **changed)))


def test_the_same_card_twice_changes_nothing(north: Path) -> None:
    pinned(north, card_of(north))
    pinned(north, card_of(north))
    assert pinned_card(north) == card_of(north)


def test_a_wrong_fingerprint_says_so(north: Path) -> None:
    card = card_of(north)
    confirm_fingerprint(card, f" {card.roster_fingerprint.upper()}\n")
    with pytest.raises(ConfigError, match=r"Nothing was pinned"):
        confirm_fingerprint(card, card.fingerprint)
