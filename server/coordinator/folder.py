"""`tacit coordinator init` and `enrol`: the coordinator's folder, and who takes part.

The folder holds two kinds of secrets that must not be mixed up: `identity.key` and
`authority.key` say who the coordinator is and may be kept offline between enrolments; the
SuperLink needs only `server.key` and `superexec.secret`.
"""

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from common.cards import (
    CoordinatorCard,
    SiteCard,
    read_coordinator_card,
    read_site_card,
    write_coordinator_card,
)
from common.errors import ConfigError, PolicyRefused
from common.keys import new_identity, read_identity, write_identity, write_roster, write_secret
from common.processes import Group
from common.units import write_units
from server.coordinator.pki import (
    authority,
    certificate_from_pem,
    certificate_pem,
    key_from_pem,
    new_key,
    private_pem,
    server_certificate,
)
from server.coordinator.templates import NGINX

CARD = "coordinator.json"
CARDS = "cards"
ROSTER = "roster.json"
IDENTITY = "identity.key"
PORT = "port.json"
PROCESSES = {
    "superlink": "Flower's SuperLink, on the loopback only",
    "superexec": "Flower's executor of the coordinator's code",
}
"""A coordinator's processes, in the order of their start."""
SUPEREXEC_SECRET = "superexec.secret"  # noqa: S105 - a file's name
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9.-]{1,200}|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class Address:
    """Where sites reach the coordinator."""

    host: str
    port: int


def address_of(text: str) -> Address:
    """The address in HOST:PORT.

    Raises:
        ConfigError: it is not of that form.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise ConfigError(f"{text!r} is not an address: expected HOST:PORT, as in hub.example:443.")
    return Address(found["host"].strip("[]"), int(found["port"]))


def init_coordinator(
    root: Path, name: str, address: str, now: datetime, port: int = 8000
) -> CoordinatorCard:
    """Write a coordinator's folder and return its card, which lists no sites yet.

    Args:
        root: of the folder; must not exist.
        name: of the federation; letters, digits, "-" and "_".
        address: HOST:PORT at which sites reach the reverse proxy.
        now: with its time zone; the certificates count from it.
        port: of the SuperLink, on the loopback.

    Raises:
        ConfigError: the folder exists, or name or address do not fit.
    """
    if root.exists():
        raise ConfigError(f"{root} is already there; keys are never overwritten. Name another.")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ConfigError(f"{name!r} is not a name: expected letters, digits, '-' or '_'.")
    where = address_of(address)
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as scratch:
        made = Path(scratch) / "coordinator"
        made.mkdir(mode=0o700)
        ca_certificate = _certificates(made, name, where.host, now)
        card = _card(made, name, address, ca_certificate)
        _configuration(made, root.absolute(), name, where, port)
        made.rename(root)
    return card


def _certificates(folder: Path, name: str, host: str, now: datetime) -> str:
    ca_key, server_key = new_key(), new_key()
    ca = authority(name, ca_key, now)
    certificate = server_certificate(ca, ca_key, server_key, host, now)
    write_secret(folder / "authority.key", private_pem(ca_key))
    write_secret(folder / "server.key", private_pem(server_key))
    (folder / "ca.crt").write_bytes(certificate_pem(ca))
    (folder / "server.crt").write_bytes(certificate_pem(certificate))
    return certificate_pem(ca).decode()


def _card(folder: Path, name: str, address: str, ca_certificate: str) -> CoordinatorCard:
    identity = new_identity(name)
    write_identity(folder / IDENTITY, identity)
    write_secret(folder / SUPEREXEC_SECRET, os.urandom(32).hex().encode())
    (folder / CARDS).mkdir()
    card = CoordinatorCard(name, address, identity.public_key, ca_certificate, 1, {})
    write_coordinator_card(folder / CARD, card, identity)
    write_roster(folder / ROSTER, {})
    return card


def _configuration(folder: Path, home: Path, name: str, where: Address, port: int) -> None:
    group = Group(home, "coordinator", tuple(PROCESSES))
    write_units(folder / "systemd", group, name, PROCESSES)
    (folder / PORT).write_text(json.dumps({"superlink": port}) + "\n", encoding="utf-8")
    (folder / "nginx.conf").write_text(_nginx(home, where, port), encoding="utf-8")


def _nginx(home: Path, where: Address, inner: int) -> str:
    is_v6 = ":" in where.host
    host = f"[{where.host}]" if is_v6 else where.host
    listen = f"[::]:{where.port}" if is_v6 else str(where.port)
    return NGINX.substitute(home=str(home), host=host, listen=listen, inner=inner)


def enrol(root: Path, paths: Sequence[Path]) -> CoordinatorCard:
    """Add sites to the roster, and sign and publish the card that says so.

    All cards are read and checked before anything is written. A site whose keys changed is not
    enrolled over the old one: that would look like a swap, and every site would see it so.

    Args:
        root: of the coordinator's folder.
        paths: the sites' cards.

    Raises:
        ConfigError: a file is not a card, or the folder is not a coordinator's.
        PolicyRefused: a site is enrolled under another key, or two cards share a name or a key.
    """
    card = read_coordinator_card(root / CARD)
    found = [read_site_card(path) for path in paths]
    sites = _joined(card.sites, found)
    for path, one in zip(paths, found, strict=True):
        (root / CARDS / f"{one.site}.json").write_bytes(path.read_bytes())
    if sites == dict(card.sites):
        return card
    return _publish(root, replace(card, number=card.number + 1, sites=sites))


def remove(root: Path, site: str) -> CoordinatorCard:
    """Take a site off the roster, and sign and publish the card that says so.

    Raises:
        ConfigError: there is no such site.
    """
    card = read_coordinator_card(root / CARD)
    if site not in card.sites:
        raise ConfigError(
            f"There is no site {site!r}; enrolled: {', '.join(card.sites) or 'none'}."
        )
    sites = {name: key for name, key in card.sites.items() if name != site}
    (root / CARDS / f"{site}.json").unlink(missing_ok=True)
    return _publish(root, replace(card, number=card.number + 1, sites=sites))


def renew(root: Path, now: datetime) -> datetime:
    """Write a new server certificate by the same authority; returns its last moment.

    Key, authority and card stay, so no site has to confirm anything.

    Args:
        root: of the coordinator's folder, authority.key in it.
        now: with its time zone; the certificate counts from it.

    Raises:
        ConfigError: the folder is not a coordinator's, a key is missing or not of its certificate.
    """
    host = address_of(read_coordinator_card(root / CARD).address).host
    try:
        ca = certificate_from_pem((root / "ca.crt").read_bytes())
        ca_key = key_from_pem((root / "authority.key").read_bytes())
        key = key_from_pem((root / "server.key").read_bytes())
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"A key or ca.crt in {root} is damaged: restore them.") from error
    if ca.public_key() != ca_key.public_key():
        raise ConfigError(f"{root / 'authority.key'} is not the key of ca.crt: restore both.")
    made = server_certificate(ca, ca_key, key, host, now)
    part = root / "server.crt.part"
    part.write_bytes(certificate_pem(made))
    part.replace(root / "server.crt")
    return made.not_valid_after_utc


def _joined(old: Mapping[str, bytes], cards: Sequence[SiteCard]) -> dict[str, bytes]:
    sites = dict(old)
    for card in cards:
        if sites.get(card.site, card.identity_key) != card.identity_key:
            raise PolicyRefused(
                f"{card.site} is enrolled under another key. If the site was made anew, take it "
                f"off first (tacit coordinator remove {card.site}) and tell the other sites why."
            )
        sites[card.site] = card.identity_key
    if len(set(sites.values())) != len(sites):
        raise PolicyRefused("Two sites have one identity key; each has to make its own.")
    return dict(sorted(sites.items()))


def _publish(root: Path, card: CoordinatorCard) -> CoordinatorCard:
    identity = read_identity(root / IDENTITY, card.name)
    write_coordinator_card(root / CARD, card, identity)
    part = root / f"{ROSTER}.part"
    write_roster(part, card.sites)
    part.replace(root / ROSTER)
    return card
