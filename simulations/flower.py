"""A run on Flower's own engines, with everything that they need around them.

`flwr run` with simulated nodes, or a SuperLink with one SuperNode a site, all on this machine.
Flower's SuperLink keeps the environment and the working directory of its first call, searches
that directory before the app bundle, never stops by itself, and its command line exits 0 when
the ServerApp failed. So each run here gets a SuperLink of its own: an own FLWR_HOME, an empty
working directory, a free port, the true status by polling, and an end.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import EnvironmentFault
from server.flwr_cli import Flwr, RunConfig, play, write_connection

BIN = Path(sys.executable).parent

_ENVIRONMENT = {
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "OMP_NUM_THREADS": "1",
    "NO_COLOR": "1",
}
_START_TIMEOUT_S = 120.0
LOG = "process.log"


def run_with_flower(num_nodes: int, run_config: RunConfig, watch: Callable[[], bool]) -> None:
    """Start a SuperLink, run the app on it over simulated SuperNodes, stop it.

    Args:
        num_nodes: simulated SuperNodes.
        run_config: the run's flat configuration; paths in it must be absolute.
        watch: called while waiting, about once a second; True once the coordinator has said that
            it is through, so that Flower is asked at once.

    Raises:
        RunFailed: the ServerApp ended with an error.
        EnvironmentFault: Flower could not be started.
    """
    with workplace() as place, superlink(place, "--simulation"):
        crowd = f"num-supernodes={num_nodes} client-resources-num-cpus=1"
        play_at(place, run_config, watch, "--federation-config", crowd)


@dataclass(frozen=True)
class Workplace:
    """Where one SuperLink and its nodes live.

    Args:
        home: its FLWR_HOME.
        empty: an empty folder, in which every process starts.
        port: of the SuperLink, on loopback.
        environment: of every process.
    """

    home: Path
    empty: Path
    port: int
    environment: Mapping[str, str]


@contextlib.contextmanager
def workplace() -> Iterator[Workplace]:
    """A throw-away place; whatever runs in it should have ended by the end of the block."""
    with tempfile.TemporaryDirectory(prefix="tacit-flwr-") as folder:
        home, empty = Path(folder) / "home", Path(folder) / "empty"
        home.mkdir()
        empty.mkdir()
        port = free_port()
        environment = {
            **os.environ,
            **_ENVIRONMENT,
            "FLWR_HOME": str(home),
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        write_connection(home, f"127.0.0.1:{port}")
        yield Workplace(home, empty, port, environment)


def play_at(
    place: Workplace, run_config: RunConfig, watch: Callable[[], bool], *options: str
) -> None:
    """Submit the app to the SuperLink of a place and return when it has completed."""
    play(Flwr(place.environment, place.empty), run_config, watch, *options)


@contextlib.contextmanager
def superlink(place: Workplace, *options: str) -> Iterator[None]:
    """A SuperLink on loopback for the time of the block; whatever it started ends with it."""
    command = [str(BIN / "flower-superlink"), "--insecure", *options]
    command += ["--isolation", "subprocess", "--host", "127.0.0.1", "--port", str(place.port)]
    command += ["--database", str(place.home / "state.db")]
    with process(command, place, place.home) as started:
        await_port(place.port, started, place.home / LOG)
        yield


@contextlib.contextmanager
def process(command: list[str], place: Workplace, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One of Flower's processes, with an FLWR_HOME of its own; its log lies in there."""
    environment = {**place.environment, "FLWR_HOME": str(home)}
    with (home / LOG).open("wb") as out:
        started = subprocess.Popen(
            command,
            cwd=place.empty,
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        _stop(started, home)


def await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return as soon as a process has opened its port.

    Raises:
        EnvironmentFault: it ended before, or took too long.
    """
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            last = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise EnvironmentFault(f"Flower's SuperLink did not start: {' '.join(last)}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.1)
    raise EnvironmentFault(f"Flower's SuperLink did not open its port in {_START_TIMEOUT_S:g} s.")


def _stop(process: subprocess.Popen[bytes], home: Path) -> None:
    """End a process's session and every process that carries its FLWR_HOME (Ray's too)."""
    _signal(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    _signal(process.pid, signal.SIGKILL)
    process.wait()
    for pid in _carrying(f"FLWR_HOME={home}"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _carrying(variable: str) -> list[int]:
    """Processes whose environment holds that variable (Linux; elsewhere none are found)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if variable.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
