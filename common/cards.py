"""Cards: what a site and a coordinator hand each other once, before anything runs.

A card is one small JSON file of public things, signed with the key that it names, so it cannot be
put together from parts of others. That it comes from whom it says is for people to confirm: they
compare its fingerprint over another channel (a telephone will do).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.files import write_atomically
from common.secagg.channel import Identity, verify
from common.secagg.derive import digest

VERSION = 1
LONGEST_CARD = 4 << 20
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class SiteCard:
    """What the coordinator and the other sites may know of a site.

    Args:
        site: its name in the roster.
        identity_key: 32 bytes, Ed25519; signs all that the site says in the secure sum.
        node_key: its SuperNode's public key, one line in OpenSSH's form.
    """

    site: str
    identity_key: bytes
    node_key: str

    @property
    def fingerprint(self) -> str:
        """What two people compare: it changes with every key of the site."""
        return fingerprint("site card", self.site, self.identity_key, self.node_key)


@dataclass(frozen=True)
class CoordinatorCard:
    """What a site has to know of a coordinator: where it is, and who takes part.

    Args:
        name: of the federation.
        address: HOST:PORT at which SuperNodes reach the coordinator.
        key: 32 bytes, Ed25519; signs the card.
        ca_certificate: PEM; the only authority that the site trusts for that address.
        number: of this card: a later card of the same coordinator has a higher one.
        sites: site name -> identity key.
    """

    name: str
    address: str
    key: bytes
    ca_certificate: str
    number: int
    sites: Mapping[str, bytes]

    @property
    def fingerprint(self) -> str:
        """What two people compare: of the coordinator, whatever sites it lists."""
        return fingerprint("coordinator", self.name, self.key, self.ca_certificate)

    @property
    def roster_fingerprint(self) -> str:
        """What a script compares: it changes with anything on the card."""
        return fingerprint("coordinator card", _canonical(_coordinator_body(self)))


def fingerprint(purpose: str, *parts: bytes | str) -> str:
    """128 bits of SHA-256 over public things, in eight groups of four digits."""
    text = digest(f"fingerprint {purpose}", *parts).hex()[:32]
    return "-".join(text[start : start + 4] for start in range(0, 32, 4))


def key_fingerprint(site: str, identity_key: bytes) -> str:
    """What two people compare where only a site's name and identity key are at hand."""
    return fingerprint("identity", site, identity_key)


def write_site_card(path: Path, card: SiteCard, identity: Identity) -> None:
    """Write a site's card, signed by the site.

    Raises:
        ConfigError: the card names another key than the identity's.
    """
    content = {"site": card.site, "identity_key": card.identity_key.hex()}
    _write(path, "site", {**content, "node_key": card.node_key}, card.identity_key, identity)


def read_site_card(path: Path) -> SiteCard:
    """The card of a site, its signature checked.

    Raises:
        ConfigError: missing, not a site's card, or not signed by the key that it names.
    """
    card = _Fields(path, "site", ("site", "identity_key", "node_key"))
    made = SiteCard(card.name("site"), card.key("identity_key"), card.text("node_key", 1024))
    card.signed_by(made.identity_key)
    return made


def write_coordinator_card(path: Path, card: CoordinatorCard, identity: Identity) -> None:
    """Write a coordinator's card, signed by the coordinator.

    Raises:
        ConfigError: the card names another key than the identity's.
    """
    _write(path, "coordinator", _coordinator_body(card), card.key, identity)


def read_coordinator_card(path: Path) -> CoordinatorCard:
    """The card of a coordinator, its signature checked.

    Raises:
        ConfigError: missing, not a coordinator's card, or not signed by the key that it names.
    """
    fields = ("name", "address", "key", "ca_certificate", "number", "sites")
    card = _Fields(path, "coordinator", fields)
    made = CoordinatorCard(
        card.name("name"),
        card.text("address", 256),
        card.key("key"),
        card.text("ca_certificate", 64 << 10),
        card.number("number"),
        card.keys("sites"),
    )
    card.signed_by(made.key)
    return made


def _coordinator_body(card: CoordinatorCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "address": card.address,
        "key": card.key.hex(),
        "ca_certificate": card.ca_certificate,
        "number": card.number,
        "sites": {site: key.hex() for site, key in sorted(card.sites.items())},
    }


def _write(
    path: Path, kind: str, content: Mapping[str, Any], key: bytes, identity: Identity
) -> None:
    if identity.public_key != key:
        raise ConfigError(f"{path} names another key than the one that signs it.")
    body = {"card": kind, "version": VERSION, **content}
    signature = identity.sign(f"{kind} card", _canonical(body)).hex()
    text = json.dumps({**body, "signature": signature}, indent=1) + "\n"
    write_atomically(path, text.encode())


def _canonical(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


class _Fields:
    """The fields of a card file, each checked when it is taken.

    Args:
        path: of the card.
        kind: "site" or "coordinator".
        names: the fields that such a card has, beside kind, version and signature.

    Raises:
        ConfigError: the file is not a card of that kind.
    """

    def __init__(self, path: Path, kind: str, names: tuple[str, ...]) -> None:
        self._path, self._kind = path, kind
        content = _parsed(path, kind)
        expected = {"card", "version", "signature", *names}
        if set(content) != expected or content["card"] != kind:
            raise self._wrong(f"expected the fields {', '.join(sorted(expected))}")
        if content["version"] != VERSION:
            raise self._wrong(f"this Tacit reads version {VERSION} of cards")
        self._signature = content.pop("signature")
        self._content = content

    def name(self, field: str) -> str:
        """A name of letters, digits, "-" and "_"."""
        value = self.text(field, 64)
        if not _NAME.fullmatch(value):
            raise self._wrong(f"{field} must be 1 to 64 letters, digits, '-' or '_'")
        return value

    def text(self, field: str, longest: int) -> str:
        """A text of at most that many characters."""
        value = self._content[field]
        if not isinstance(value, str) or not 0 < len(value) <= longest:
            raise self._wrong(f"{field} must be a text of 1 to {longest} characters")
        return value

    def number(self, field: str) -> int:
        """A whole number above 0."""
        value = self._content[field]
        if type(value) is not int or not 0 < value < 1 << 53:
            raise self._wrong(f"{field} must be a whole number above 0")
        return value

    def key(self, field: str) -> bytes:
        """An Ed25519 public key."""
        return self._key(field, self._content[field])

    def keys(self, field: str) -> dict[str, bytes]:
        """Names and their Ed25519 public keys, sorted by name; no key twice."""
        value = self._content[field]
        if not isinstance(value, dict) or not all(_NAME.fullmatch(name) for name in value):
            raise self._wrong(f"{field} must map names to keys")
        keys = {name: self._key(f"{field}.{name}", value[name]) for name in sorted(value)}
        if len(set(keys.values())) != len(keys):
            raise self._wrong(f"{field} holds one key twice")
        return keys

    def signed_by(self, key: bytes) -> None:
        """Check the card's signature."""
        signature = _hex(self._signature, 64)
        body = _canonical(self._content)
        if signature is None or not verify(key, signature, f"{self._kind} card", body):
            raise self._wrong("its signature is not by the key that it names; ask for it again")

    def _key(self, field: str, value: object) -> bytes:
        key = _hex(value, 32)
        if key is None:
            raise self._wrong(f"{field} must be a key of 64 hexadecimal digits")
        return key

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(f"{self._path} is not a {self._kind}'s card: {what}.")


def _parsed(path: Path, kind: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > LONGEST_CARD:
            raise ConfigError(f"{path} is not a {kind}'s card: it is over {LONGEST_CARD} bytes.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a {kind}'s card: expected one JSON object.")
    return content


def _hex(value: object, size: int) -> bytes | None:
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", value):
        return None
    return bytes.fromhex(value)
