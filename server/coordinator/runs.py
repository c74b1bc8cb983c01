"""`tacit coordinator run`: register the sites' nodes, submit a study, follow it to its true end."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from common.cards import read_coordinator_card, read_site_card
from common.config import Study
from common.errors import ConfigError, EnvironmentFault, TooFewSites
from common.processes import BIN, FLOWER
from server.coordinator.folder import CARD, CARDS
from server.coordinator.processes import port_of
from server.flwr_cli import Flwr, RunFailed, play, write_connection
from server.following import Follower, Watch, said

START_TIMEOUT_S = 60.0
_REGISTERED = "registered.json"


def submit(root: Path, study: Study, given: Sequence[str], out: Path, watch: Watch) -> None:
    """Run a study over the enrolled sites and return when it has completed.

    Args:
        root: of the coordinator's folder; its SuperLink has to be running.
        study: to run; its name must be one that the sites know.
        given: key=value pairs in which it differs from the study of that name.
        out: the run's folder; must be new or empty.
        watch: gets each line of progress once.

    Raises:
        ConfigError: the run's folder is taken.
        TooFewSites: fewer sites are enrolled than the study needs.
        TacitError: whatever ended the run, with its own type.
    """
    card = read_coordinator_card(root / CARD)
    fewest = study.secure_aggregation.min_sites
    if len(card.sites) < fewest:
        raise TooFewSites(f"{len(card.sites)} sites are enrolled; the study needs {fewest}.")
    _fresh(out)
    flwr = command_line(root)
    register(root, flwr)
    follow = Follower(out, watch)
    try:
        play(flwr, _run_config(root, study, given, out), follow)
    except RunFailed:
        raise said(out) or RunFailed(
            "The run ended before it wrote why; see superexec.log."
        ) from None
    finally:
        follow()


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


def _run_config(root: Path, study: Study, given: Sequence[str], out: Path) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in given]
    return {
        "study": study.name,
        "federation": str(root.absolute()),
        "run-dir": str(out.absolute()),
        **{key.replace("_", "-"): value for key, _, value in pairs},
    }


def _fresh(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        taken = any(out.iterdir())
    except OSError as error:
        raise EnvironmentFault(f"{out} cannot be made: {error.strerror}.") from error
    if taken:
        raise ConfigError(f"{out} is not empty; a run needs a folder of its own.")
