"""`tacit site init`: a site's folder, written whole or not at all; its keys are born in it."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from client.policy.schema import schema_text
from client.site.keys import new_node_key
from client.site.templates import MANIFEST, POLICY
from common.cards import SiteCard, write_site_card
from common.errors import ConfigError
from common.keys import new_identity, write_identity, write_secret
from common.processes import Group
from common.settings import load_policy
from common.units import write_units

CARD = "card.json"
NODE_KEY = "supernode.key"
PORTS = "ports.json"
PROCESSES = {
    "supernode": "Flower's SuperNode, the one connection to the coordinator",
    "runner": "the runner, which trains on this site's recordings",
}
"""A site's processes, in the order of their start."""
SCHEMA = "policy.schema.json"
RUNTIME_SECRET = "runtime.secret"  # noqa: S105 - a file's name
DELTA = 1e-3


@dataclass(frozen=True)
class Wishes:
    """What an operator says when a site is made.

    Args:
        site: its name; letters, digits, "-" and "_".
        persons: the public number of persons that runs are scaled by; round it.
        manifest: the table of recordings; empty writes a stub into the folder.
        purposes: that a study may have; empty refuses every study until policy.yaml says more.
        max_epsilon: cap on the ε of one person over everything that the site ever releases.
        studies: that may run; empty refuses every study until policy.yaml says more.
        ethics: reference of the approval that covers the recordings; empty refuses every study.
        ethics_until: its last day, as 2027-12-31.
        first_port: of two in a row on the loopback: the SuperNode's and the runner's.
    """

    site: str
    persons: int
    manifest: str = ""
    purposes: Sequence[str] = ()
    max_epsilon: float = 8.0
    first_port: int = 9094
    studies: Sequence[str] = ()
    ethics: str = ""
    ethics_until: str = ""


def init_site(root: Path, wishes: Wishes) -> SiteCard:
    """Write a site's folder and return its public card.

    Args:
        root: of the folder; must not exist.
        wishes: what the operator says.

    Raises:
        ConfigError: the folder exists, or a wish does not fit the policy's rules.
    """
    if root.exists():
        raise ConfigError(f"{root} is already there; keys are never overwritten. Name another.")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as scratch:
        made = Path(scratch) / "site"
        made.mkdir(mode=0o700)
        card = _fill(made, root.absolute(), wishes)
        made.rename(root)
    return card


def _fill(folder: Path, home: Path, wishes: Wishes) -> SiteCard:
    (folder / "policy.yaml").write_text(policy_text(wishes), encoding="utf-8")
    _checked(folder / "policy.yaml", home / "policy.yaml")
    (folder / SCHEMA).write_text(schema_text(), encoding="utf-8")
    if not wishes.manifest:
        (folder / "manifest.csv").write_text(MANIFEST, encoding="utf-8")
    identity = new_identity(wishes.site)
    write_identity(folder / "identity.key", identity)
    card = SiteCard(wishes.site, identity.public_key, new_node_key(folder / NODE_KEY))
    write_secret(folder / RUNTIME_SECRET, os.urandom(32).hex().encode())
    write_site_card(folder / CARD, card, identity)
    ports = {"runtime": wishes.first_port, "health": wishes.first_port + 1}
    (folder / PORTS).write_text(json.dumps(ports) + "\n", encoding="utf-8")
    write_units(folder / "systemd", Group(home, "site", tuple(PROCESSES)), wishes.site, PROCESSES)
    return card


def _checked(path: Path, said: Path) -> None:
    """Read the policy back, so that a wish that does not fit is refused before keys are made."""
    try:
        load_policy(path)
    except ConfigError as error:
        raise ConfigError(str(error).replace(str(path), str(said))) from error


def policy_text(wishes: Wishes) -> str:
    """The policy file of a new site, every line explained."""
    return POLICY.format(
        site=_quoted(wishes.site),
        manifest=_quoted(wishes.manifest or "manifest.csv"),
        studies=_listed(wishes.studies),
        purposes=_listed(wishes.purposes),
        ethics=_quoted(wishes.ethics),
        until=_quoted(wishes.ethics_until),
        persons=wishes.persons,
        max_epsilon=wishes.max_epsilon,
        delta=_rounded_down(min(DELTA, 0.1 / max(1, wishes.persons))),
    )


def _rounded_down(share: float) -> str:
    """A share below 1 with one digit, never more than it is."""
    digit, _, exponent = f"{share:.9e}".partition("e")
    return f"{digit[0]}e{exponent}"


def _listed(texts: Sequence[str]) -> str:
    return "".join(f"\n  - {_quoted(text)}" for text in texts) or " []"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
