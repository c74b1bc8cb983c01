"""What a runner does just now: kept in memory, asked over gRPC on the loopback."""

import json
import threading
import time
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class Status:
    """What `tacit site status` shows of a runner.

    Args:
        site: its name.
        pid: of the runner's process.
        started: when the runner started, seconds since 1970.
        last_contact: when it last heard from its SuperNode, seconds since 1970; 0 for never.
        doing: the last thing that happened, in a word or two.
        stage: of the last message.
        study: of the last message that named one; empty before the first.
        round: the newest of that study's training; 0 before the first.
        answered: messages answered since the start.
        refused: messages refused since the start.
    """

    site: str
    pid: int
    started: float
    last_contact: float = 0.0
    doing: str = "starting"
    stage: str = ""
    study: str = ""
    round: int = 0
    answered: int = 0
    refused: int = 0


class Board:
    """The one status of a runner; threads may write and read it."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._lock = threading.Lock()

    def note(self, event: str, detail: str, study: str = "", number: int = 0) -> None:
        """Take what the runner's loop reports; what a message does not say stays as it was."""
        with self._lock:
            before = self._status
            kept = before.round if study in ("", before.study) else 0
            placed = replace(before, study=study or before.study, round=number or kept)
            self._status = _noted(placed, event, detail, time.time())

    def read(self) -> Status:
        """The status as it is now."""
        with self._lock:
            return self._status


def _noted(status: Status, event: str, detail: str, now: float) -> Status:
    if event == "waiting":
        return replace(status, doing=f"waiting for the SuperNode ({detail})")
    status = replace(status, last_contact=now)
    if event == "answered":
        return replace(status, doing="ready", stage=detail, answered=status.answered + 1)
    if event == "idle":
        return replace(status, doing="ready")
    return replace(status, doing=event, refused=status.refused + 1)


def to_json(status: Status) -> bytes:
    """A status as bytes."""
    return json.dumps(asdict(status)).encode()


def from_json(raw: bytes) -> Status:
    """A status from bytes; raises ValueError or TypeError when they are none."""
    return Status(**json.loads(raw))
