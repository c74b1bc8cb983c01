"""A site's audit log: what it did and refused, line by line, chained and signed; no person's data.

Each line names the one before by its hash and is signed with the site's key, so each line is a
head: whoever keeps one can tell later whether anything up to it was edited, taken out, moved or
cut off. What a line may say is fixed by EVENTS: there is no field in which a person's value, a
number of clips or an error's text could stand. Reasons stay in site.log, which is not shown.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from common.errors import ConfigError, EnvironmentFault, LedgerError
from common.secagg.channel import Identity, verify
from common.secagg.derive import digest

AUDIT_LOG = "audit.jsonl"
START = "0" * 64
LONGEST_LINE = 1 << 16
_PURPOSE = "audit line"

EVENTS: dict[str, dict[str, type]] = {
    "made": {"card": str},
    "trusted": {"coordinator": str, "card": int, "fingerprint": str},
    "approved": {"bundle": str},
    "policy": {"sha256": str},
    "started": {"process": str},
    "stopped": {"process": str},
    "answered": {"stage": str, "study": str, "run": str, "round": int, "ledger": str},
    "refused": {"stage": str, "word": str},
    "shared": {"run": str, "round": int, "heads": str},
}
"""Event -> the fields that a line of it has, and their types."""


@dataclass(frozen=True)
class AuditHead:
    """The number and hash of a log's last line."""

    number: int
    digest: str


def append(path: Path, identity: Identity, event: str, at: str, **details: str | int) -> AuditHead:
    """Add a line to a log, on disk when this returns; atomic between processes.

    Args:
        path: of the log; made, mode 0600, when it is not there.
        identity: of the site.
        event: one of EVENTS.
        at: when, UTC.
        details: exactly the fields of that event.

    Raises:
        ConfigError: the details are not those of the event.
        LedgerError: the log's last line is not a line of it.
        EnvironmentFault: the disk is full or the file cannot be written.
    """
    _check_details(event, details)
    with _open(path) as file:
        last = _last(file)
        content = {"number": last.number + 1, "at": at, "event": event, **details}
        body = {**content, "previous": last.digest}
        hashed = _hash(body)
        signature = identity.sign(_PURPOSE, bytes.fromhex(hashed)).hex()
        line = _text({**body, "digest": hashed, "signature": signature}) + "\n"
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())
    return AuditHead(last.number + 1, hashed)


def check(path: Path, public_key: bytes, kept: AuditHead | None = None) -> AuditHead:
    """Check every line of a log, and that it still holds a head that was kept.

    Args:
        path: of the log.
        public_key: of the site.
        kept: a head of this log from before.

    Returns:
        the log's head.

    Raises:
        LedgerError: a line was edited, taken out, moved or cut off; names the first.
        ConfigError: the log cannot be read.
    """
    head, found = AuditHead(0, START), kept is None or kept.number == 0
    for number, raw in enumerate(_lines(path), 1):
        head = _checked(raw, AuditHead(number - 1, head.digest), public_key)
        if kept is not None and kept.number == number:
            found = True
            if kept.digest != head.digest:
                raise LedgerError(f"audit log: line {number} is not the one that was kept", number)
    if kept is not None and not found:
        said = f"it ends at line {head.number}, and line {kept.number} was kept"
        raise LedgerError(f"audit log: {said}", head.number + 1)
    return head


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, unchecked.

    Raises:
        ConfigError: the log cannot be read.
        LedgerError: a line is not JSON.
    """
    return [_parsed(raw, number) for number, raw in enumerate(_lines(path), 1)]


def _check_details(event: str, details: dict[str, str | int]) -> None:
    if event not in EVENTS:
        raise ConfigError(f"There is no audit event {event!r}; known: {', '.join(EVENTS)}.")
    found = {name: type(value) for name, value in details.items()}
    if found != EVENTS[event]:
        expected = ", ".join(f"{name}: {kind.__name__}" for name, kind in EVENTS[event].items())
        raise ConfigError(f"An audit line of {event!r} has the fields {expected}.")


def _checked(raw: bytes, before: AuditHead, public_key: bytes) -> AuditHead:
    number = before.number + 1
    line = _parsed(raw, number)
    signature, hashed = line.pop("signature", None), line.pop("digest", None)
    if line.get("number") != number or line.get("previous") != before.digest:
        raise LedgerError(f"audit log: line {number} does not extend line {before.number}", number)
    if hashed != _hash(line):
        raise LedgerError(f"audit log: line {number} was edited", number)
    if not verify(public_key, _signature(signature), _PURPOSE, bytes.fromhex(hashed)):
        raise LedgerError(f"audit log: line {number} is not signed by this site", number)
    return AuditHead(number, hashed)


def _signature(value: object) -> bytes:
    try:
        return bytes.fromhex(str(value))
    except ValueError:
        return b""


def _parsed(raw: bytes, number: int) -> dict[str, Any]:
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        line = None
    if not isinstance(line, dict):
        raise LedgerError(f"audit log: line {number} is not a line of it", number)
    return line


def _hash(body: dict[str, Any]) -> str:
    return digest(_PURPOSE, _text(body)).hex()


def _text(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be written: {error.strerror}.") from error


def _last(file: IO[bytes]) -> AuditHead:
    """The head that a log ends with; a line that a crash left unfinished is taken off first."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - 2 * LONGEST_LINE)
    tail = os.pread(file.fileno(), size - start, start)
    whole = tail.rfind(b"\n") + 1
    if whole < len(tail):
        file.truncate(start + whole)
        file.seek(0, os.SEEK_END)
    if not whole:
        return AuditHead(0, START)
    last = tail[:whole].splitlines()[-1]
    try:
        line = json.loads(last)
        return AuditHead(int(line["number"]), str(line["digest"]))
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError("audit log: its last line is damaged; run `tacit audit log`") from error
