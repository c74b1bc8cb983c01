"""A run on Flower's own engines, with everything that they need around them.

`flwr run` with simulated nodes, or a SuperLink with one SuperNode a site, all on this machine.
Flower's SuperLink keeps the environment and the working directory of its first call, searches
that directory before the app bundle, never stops by itself, and its command line exits 0 when
the ServerApp failed. So each run here gets a SuperLink of its own: an own FLWR_HOME, an empty
working directory, a free port, the true status by polling, and an end.
"""

import contextlib
import json
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
from typing import Any

from common.errors import EnvironmentFault, TacitError
from simulations.federation import RunConfig

APP = Path(__file__).resolve().parent.parent
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
_POLL_S = 1.0
_POLLS = 15
_CONNECTION = "tacit"
LOG = "process.log"


class RunFailed(TacitError):
    """Flower says that the run failed; the ServerApp's own error file says why."""


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
        play(place, run_config, watch, "--federation-config", crowd)


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
        _write_connection(home, port)
        yield Workplace(home, empty, port, environment)


def play(place: Workplace, run_config: RunConfig, watch: Callable[[], bool], *options: str) -> None:
    """Submit the app to the SuperLink of a place and return when it has completed."""
    flwr = _Flwr(place.environment, place.empty)
    run_id = flwr.start(run_config, *options)
    try:
        flwr.wait(run_id, watch)
    except KeyboardInterrupt:
        flwr.stop(run_id)
        raise


class _Flwr:
    """The `flwr` command line, with its JSON output."""

    def __init__(self, environment: Mapping[str, str], cwd: Path) -> None:
        self._environment = dict(environment)
        self._cwd = cwd

    def start(self, run_config: RunConfig, *options: str) -> str:
        """Submit the app; returns the run's id."""
        given = " ".join(f"{key}={_toml(value)}" for key, value in run_config.items())
        answer = self._json("run", str(APP), _CONNECTION, "-c", given, *options)
        if not answer.get("success") or not answer.get("run-id"):
            raise EnvironmentFault(f"flwr run was refused: {answer.get('error-message', answer)}.")
        return str(answer["run-id"])

    def wait(self, run_id: str, watch: Callable[[], bool]) -> None:
        """Return when the run has completed; raise when it failed.

        Asking Flower costs a second of CPU each time, so it is asked seldom before the
        coordinator is through.
        """
        while True:
            status = self._status(run_id)
            if status == "finished:completed":
                return
            if status.startswith("finished"):
                raise RunFailed(f"The run ended as {status}.\n{self._log(run_id)}")
            for _ in range(_POLLS):
                time.sleep(_POLL_S)
                if watch():
                    break

    def stop(self, run_id: str) -> None:
        """Ask for the run's end; the SuperLink is stopped anyway."""
        with contextlib.suppress(subprocess.SubprocessError, EnvironmentFault):
            self._call("stop", run_id, _CONNECTION)

    def _status(self, run_id: str) -> str:
        runs = self._json("list", "--run-id", run_id, _CONNECTION).get("runs") or [{}]
        return str(runs[0].get("status", ""))

    def _log(self, run_id: str) -> str:
        return "\n".join(self._call("log", run_id, _CONNECTION, "--show").splitlines()[-30:])

    def _json(self, *arguments: str) -> dict[str, Any]:
        text = self._call(*arguments, "--format", "json")
        start = text.find("{")
        try:
            answer = json.loads(text[start:])
        except ValueError as error:
            raise EnvironmentFault(f"flwr {arguments[0]} said: {text.strip()[:500]}") from error
        return dict(answer)

    def _call(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(BIN / "flwr"), *arguments],
            env=self._environment,
            cwd=self._cwd,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.stdout or done.stderr


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


def _write_connection(home: Path, port: int) -> None:
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "{_CONNECTION}"\n\n'
        f'[superlink.{_CONNECTION}]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _toml(value: bool | float | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, str) else repr(value)
