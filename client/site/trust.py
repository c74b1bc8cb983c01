"""`tacit site trust`: pin a coordinator and its roster, after a person has confirmed them.

From then on the site takes part only in sums of exactly these sites. The coordinator cannot add,
swap or drop one by itself: a later card waits here until somebody confirms it again.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from client.site.folder import CARD
from common.cards import CoordinatorCard, key_fingerprint, read_coordinator_card, read_site_card
from common.errors import ConfigError, PolicyRefused
from common.keys import read_identity, write_roster

COORDINATOR = "coordinator.json"
ROSTER = "roster.json"
CA_CERTIFICATE = "ca.crt"


@dataclass(frozen=True)
class Change:
    """What a card would change for one site of the roster.

    Args:
        site: its name.
        fingerprint: of its name and key.
        change: "new", "same", "another key" or "gone".
    """

    site: str
    fingerprint: str
    change: str


def changes(root: Path, card: CoordinatorCard) -> tuple[Change, ...]:
    """What a card would change, site by site, sorted by name."""
    pinned = pinned_card(root)
    old = dict(pinned.sites) if pinned else {}
    names = sorted({*old, *card.sites})
    return tuple(_change(name, old.get(name), card.sites.get(name)) for name in names)


def _change(site: str, old: bytes | None, new: bytes | None) -> Change:
    said = "new" if old is None else "gone" if new is None else "same"
    if old and new and old != new:
        said = "another key"
    return Change(site, key_fingerprint(site, new or old or b""), said)


def offered_card(root: Path, path: Path) -> CoordinatorCard:
    """A coordinator's card that this site may be asked to confirm.

    Args:
        root: of the site's folder.
        path: of the card.

    Raises:
        ConfigError: not a card, or the folder is not a site's.
        PolicyRefused: the card lacks this site or has another key for it, is older than the
            pinned one, or is another coordinator's.
    """
    card, own = read_coordinator_card(path), read_site_card(root / CARD)
    key = read_identity(root / "identity.key", own.site).public_key
    if card.sites.get(own.site) != key:
        found = "another key for" if own.site in card.sites else "no site"
        raise PolicyRefused(
            f"{path} has {found} {own.site}. Send {root / CARD} to the coordinator and ask for "
            "a new card."
        )
    _follows(path, pinned_card(root), card)
    return card


def _follows(path: Path, pinned: CoordinatorCard | None, card: CoordinatorCard) -> None:
    if pinned is None:
        return
    if card.key != pinned.key:
        raise PolicyRefused(
            f"{path} is by another coordinator than the one that this site has pinned "
            f"({pinned.name}, {pinned.fingerprint}). To leave that one, make a new site folder."
        )
    if card.number < pinned.number or (card.number == pinned.number and card != pinned):
        raise PolicyRefused(
            f"{path} is number {card.number}; this site has already confirmed number "
            f"{pinned.number}. Ask the coordinator for its latest card."
        )


def pin(root: Path, card: CoordinatorCard, source: Path) -> None:
    """Pin a card that was confirmed: coordinator, roster and certificate authority.

    The roster goes last, since the site takes part by the roster alone.
    """
    _replace(root / COORDINATOR, source.read_bytes())
    _replace(root / CA_CERTIFICATE, card.ca_certificate.encode())
    part = root / f"{ROSTER}.part"
    write_roster(part, card.sites)
    part.replace(root / ROSTER)


def pinned_card(root: Path) -> CoordinatorCard | None:
    """The card that this site has confirmed; None before the first."""
    path = root / COORDINATOR
    return read_coordinator_card(path) if path.exists() else None


def confirm_fingerprint(card: CoordinatorCard, given: str) -> None:
    """Compare a fingerprint that a script was given with the card's.

    Raises:
        ConfigError: they differ; nothing is pinned.
    """
    if given.strip().lower() != card.roster_fingerprint:
        raise ConfigError(
            f"The card's fingerprint is {card.roster_fingerprint}, not {given.strip()}. "
            "Nothing was pinned: ask the coordinator which is right."
        )


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)
