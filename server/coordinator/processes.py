"""The coordinator's two processes: Flower's SuperLink, and the executor of the coordinator's code.

Both stay on the loopback. Sites reach the SuperLink's fleet API through the reverse proxy alone:
Flower's control API has no authentication, so whoever reached it could start runs.
"""

import json
import sys
from pathlib import Path

from common.errors import ConfigError
from common.processes import Group
from server.coordinator.folder import PORT, PROCESSES, SUPEREXEC_SECRET

DATABASE = "superlink.db"
"""What the SuperLink knows of nodes and runs."""


def port_of(root: Path) -> int:
    """The SuperLink's port on the loopback.

    Raises:
        ConfigError: the folder is not a coordinator's.
    """
    try:
        return int(json.loads((root / PORT).read_text(encoding="utf-8"))["superlink"])
    except OSError as error:
        raise ConfigError(f"{root} is not a coordinator's folder: it holds no {PORT}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{root / PORT} must hold a port number.") from error


def group_of(root: Path) -> Group:
    """The coordinator's processes, as the supervisor starts them.

    Raises:
        ConfigError: the folder is not a coordinator's.
    """
    port_of(root)
    return Group(root, "coordinator", tuple(PROCESSES))


def superlink_command(root: Path) -> list[str]:
    """How Flower's SuperLink is started; no secret stands in it."""
    given = {
        "--host": "127.0.0.1",
        "--port": str(port_of(root)),
        "--ssl-ca-certfile": str(root / "ca.crt"),
        "--ssl-certfile": str(root / "server.crt"),
        "--ssl-keyfile": str(root / "server.key"),
        "--database": str(root / DATABASE),
        "--isolation": "process",
        "--superexec-auth-secret-file": str(root / SUPEREXEC_SECRET),
    }
    flags = ["--enable-supernode-auth", "--disable-runtime-dependency-installation"]
    return [sys.executable, "-m", "server.coordinator.superlink", *flags, *_words(given)]


def superexec_command(root: Path) -> list[str]:
    """How Flower's executor is started; no secret stands in it."""
    given = {
        "--runtime-api-address": f"127.0.0.1:{port_of(root)}",
        "--root-certificates": str(root / "ca.crt"),
        "--superexec-auth-secret-file": str(root / SUPEREXEC_SECRET),
        "--executor": "subprocess",
    }
    return [sys.executable, "-m", "server.coordinator.superexec", *_words(given)]


def _words(given: dict[str, str]) -> list[str]:
    return [word for pair in given.items() for word in pair]
