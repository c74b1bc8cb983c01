"""A site's two processes: Flower's SuperNode, and the runner that answers its tasks.

Only the SuperNode has a connection to the outside, and it is an outgoing one. Both listen on the
loopback: the SuperNode for the runner, which has to know a secret; the runner for its operator.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from client.site.folder import NODE_KEY, PORTS, PROCESSES, RUNTIME_SECRET
from client.site.trust import CA_CERTIFICATE, pinned_card
from common.errors import ConfigError
from common.processes import Group


@dataclass(frozen=True)
class Ports:
    """Where a site's processes listen, all on the loopback.

    Args:
        runtime: the SuperNode's runtime API, for the runner alone.
        health: the runner's health service and status call.
    """

    runtime: int
    health: int


def ports_of(root: Path) -> Ports:
    """The ports of a site.

    Raises:
        ConfigError: the folder is not a site's, or the file of ports is damaged.
    """
    try:
        content = json.loads((root / PORTS).read_text(encoding="utf-8"))
        return Ports(int(content["runtime"]), int(content["health"]))
    except OSError as error:
        raise ConfigError(f"{root} is not a site's folder: it holds no {PORTS}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{root / PORTS} must hold two port numbers.") from error


def group_of(root: Path) -> Group:
    """A site's processes, as the supervisor starts them.

    Raises:
        ConfigError: no coordinator is pinned yet.
    """
    supernode_command(root.absolute())
    return Group(root, "site", tuple(PROCESSES))


def supernode_command(root: Path) -> list[str]:
    """How Flower's SuperNode is started for this site; no secret stands in it.

    Raises:
        ConfigError: this is no site's folder, or no coordinator is pinned yet.
    """
    if not (root / "policy.yaml").is_file():
        raise ConfigError(f"{root} is not a site's folder: it holds no policy.yaml.")
    card = pinned_card(root)
    if card is None:
        raise ConfigError(f"{root} trusts no coordinator yet: run tacit site trust first.")
    given = {
        "--superlink": card.address,
        "--root-certificates": str(root / CA_CERTIFICATE),
        "--auth-supernode-private-key": str(root / NODE_KEY),
        "--isolation": "process",
        "--superexec-auth-secret-file": str(root / RUNTIME_SECRET),
        "--host": "127.0.0.1",
        "--port": str(ports_of(root).runtime),
    }
    words = [word for pair in given.items() for word in pair]
    return [sys.executable, "-m", "client.site.supernode", *words]
