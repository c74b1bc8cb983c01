"""Processes of a site or a coordinator on a machine without systemd: start, watch, stop.

`start` leaves a supervisor behind. It starts each process, and starts again what ended, waiting
longer each time: a SuperNode that was killed, for one, is not let back in by the coordinator for
up to a minute. What it started ends with it, so that nothing is left that holds a port.
"""

import contextlib
import ctypes
import fcntl
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import EnvironmentFault

BIN = Path(sys.executable).parent
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
GOOD_LIFE_S = 120.0
STOP_S = 15.0
_POLL_S = 0.2
_PID = "supervisor.pid"
_LOG = "supervisor.log"
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1

FLOWER = {
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "NO_COLOR": "1",
}
"""What Flower's own processes are told: install nothing, ask nobody, report nothing."""


@dataclass(frozen=True)
class Group:
    """Processes that belong together.

    Args:
        root: of the folder; holds the logs.
        side: "site" or "coordinator": the command group of `tacit` that starts them.
        names: of the processes, which are commands of that group, in the order of their start.
    """

    root: Path
    side: str
    names: tuple[str, ...]

    def command(self, name: str) -> list[str]:
        """How one of them is started; no secret stands in it."""
        return [str(BIN / "tacit"), self.side, name, str(self.root.absolute())]


def become(root: Path, command: Sequence[str]) -> None:
    """Turn this process into one of Flower's, in an empty working directory of its own.

    Flower searches its working directory before anything else, so it must hold no code.
    """
    dump_no_core()
    home = root.absolute() / "flower"
    empty = home / "empty"
    empty.mkdir(parents=True, exist_ok=True)
    os.chdir(empty)
    own = {"FLWR_HOME": str(home), "PATH": f"{BIN}{os.pathsep}{os.defpath}"}
    os.execve(command[0], list(command), {**os.environ, **FLOWER, **own})


def dump_no_core() -> None:
    """Have this process, and all that it starts, leave no memory on disk when it crashes.

    There are keys in it, and recordings.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def plain_logs() -> None:
    """Have Flower write its log in this process without colour codes, and with the time."""
    for handler in logging.getLogger("flwr").handlers:
        vars(handler).update(colored=False, timestamps=True)


def start(group: Group) -> int:
    """Leave a supervisor behind; returns its process number.

    Raises:
        EnvironmentFault: it is running already, or ends at once.
    """
    if supervisor_pid(group.root) is not None:
        raise EnvironmentFault(f"{group.root} is running already.")
    process = _popen(group.command("supervise"), group.root / _LOG)
    _await(lambda: supervisor_pid(group.root) is not None or process.poll() is not None, STOP_S)
    if process.poll() is not None:
        raise EnvironmentFault(f"The supervisor ended at once; see {group.root / _LOG}.")
    return process.pid


def stop(root: Path) -> bool:
    """End the supervisor and both processes; False when none was running.

    Raises:
        EnvironmentFault: it did not end in time.
    """
    pid = supervisor_pid(root)
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if not _await(lambda: supervisor_pid(root) is None, 2 * STOP_S):
        raise EnvironmentFault(f"Process {pid} does not end; kill it by hand.")
    return True


def supervisor_pid(root: Path) -> int | None:
    """The supervisor's process number; None when the site is not running.

    It is running while it holds the lock on its file, so a number left by a crash says nothing.
    """
    path = root / _PID
    if not path.exists():
        return None
    with path.open("r+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = file.read().strip()
            return int(text) if text.isdigit() else None
    return None


def supervise(group: Group) -> None:
    """Run the processes of a group until this one is told to end.

    Raises:
        EnvironmentFault: another supervisor runs them.
    """
    dump_no_core()
    with _alone(group.root):
        ended = _Ended()
        children = [_Child(group, name) for name in group.names]
        try:
            while not ended.asked:
                for child in children:
                    child.watch(time.monotonic())
                time.sleep(_POLL_S)
        finally:
            for child in reversed(children):
                child.stop()


class _Ended:
    """Whether somebody asked this process to end."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True


class _Child:
    """One process that is started again when it ends."""

    def __init__(self, group: Group, name: str) -> None:
        self._command, self._log = group.command(name), group.root / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._next = 0.0
        self._wait_s = FIRST_WAIT_S

    def watch(self, now: float) -> None:
        """Start the process if it is not there and its time has come."""
        if self._process is not None and self._process.poll() is not None:
            lived_s = now - self._started
            self._wait_s = next_wait_s(self._wait_s, lived_s)
            self._next, self._process = now + self._wait_s, None
        if self._process is None and now >= self._next:
            self._started = now
            self._process = _popen(self._command, self._log, before=_end_with_parent)

    def stop(self) -> None:
        """End the process, gently first."""
        if self._process is None or self._process.poll() is not None:
            return
        _signal(self._process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S / 2)
        _signal(self._process.pid, signal.SIGKILL)
        self._process.wait()


def next_wait_s(wait_s: float, lived_s: float) -> float:
    """How long to wait before a process that ended is started again."""
    return FIRST_WAIT_S if lived_s >= GOOD_LIFE_S else min(LONGEST_WAIT_S, 2 * wait_s)


def _popen(
    command: Sequence[str], log: Path, before: Callable[[], None] | None = None
) -> subprocess.Popen[bytes]:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.fchmod(descriptor, 0o600)
    with os.fdopen(descriptor, "ab") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=before,  # noqa: PLW1509 (a supervisor has one thread)
        )


def _end_with_parent() -> None:
    """Have the system end this process when its parent dies, however that happens (Linux)."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the lock of a folder's one supervisor.

    Raises:
        EnvironmentFault: another process holds it.
    """
    descriptor = os.open(root / _PID, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EnvironmentFault(f"Another process runs {root} already.") from error
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _await(condition: Callable[[], bool], most_s: float) -> bool:
    deadline = time.monotonic() + most_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False
