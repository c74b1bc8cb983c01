"""The coordinator's SuperLink as its commands reach it, and the node keys that it knows."""

import contextlib
import json
import os
import socket
import time
from pathlib import Path

from common.cards import read_site_card
from common.errors import EnvironmentFault
from common.processes import BIN, FLOWER
from server.coordinator.folder import CARDS
from server.coordinator.processes import DATABASE, port_of
from server.flwr_cli import Flwr, write_connection

START_TIMEOUT_S = 60.0
_REGISTERED = "registered.json"


def command_line(root: Path) -> Flwr:
    """Flower's command line, pointed at this coordinator's SuperLink."""
    home = root.absolute() / "flower-cli"
    empty = home / "empty"
    empty.mkdir(parents=True, exist_ok=True)
    write_connection(home, f"127.0.0.1:{port_of(root)}", root.absolute() / "ca.crt")
    own = {"FLWR_HOME": str(home), "PATH": f"{BIN}{os.pathsep}{os.defpath}"}
    return Flwr({**os.environ, **FLOWER, **own}, empty)


def register(root: Path, flwr: Flwr) -> None:
    """Register the node keys of the enrolled sites that the SuperLink does not know yet.

    Raises:
        EnvironmentFault: the SuperLink does not answer, or refuses a key.
    """
    await_superlink(root)
    path = root / _REGISTERED
    known = dict(json.loads(path.read_text())) if path.exists() else {}
    for card_path in sorted((root / CARDS).glob("*.json")):
        card = read_site_card(card_path)
        if known.get(card.site) == card.node_key:
            continue
        public = root.absolute() / CARDS / f"{card.site}.pub"
        public.write_text(card.node_key + "\n", encoding="ascii")
        flwr.register(public, card.site)
        known[card.site] = card.node_key
        path.write_text(json.dumps(known, indent=1) + "\n")


def forget_registrations(root: Path) -> None:
    """Have every node registered again by the next run, if the SuperLink's database is gone."""
    if not (root / DATABASE).exists():
        (root / _REGISTERED).unlink(missing_ok=True)


def await_superlink(root: Path) -> None:
    """Return as soon as the SuperLink has opened its port.

    Raises:
        EnvironmentFault: it took too long.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port_of(root)), 1.0),
        ):
            return
        time.sleep(0.2)
    raise EnvironmentFault(
        f"The SuperLink of {root} does not answer: tacit coordinator start {root}, and see "
        f"{root / 'superlink.log'}."
    )
