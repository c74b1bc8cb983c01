"""A ledger read from its first entry to its last, without writing a byte: for those who look."""

import os
import sqlite3
import stat
from dataclasses import dataclass
from pathlib import Path

from common.errors import LedgerError
from common.privacy import accountant
from common.privacy.events import Event, Unit
from common.privacy.ledger.chain import Entry, Head
from common.privacy.ledger.file import BUSY_S, LedgerRows, explained, open_to_others
from common.privacy.ledger.report import StudyAccount, study_accounts
from common.privacy.ledger.state import Replay, Reservation


@dataclass(frozen=True)
class Change:
    """One entry that changed what a study has spent.

    Args:
        seq: the entry's number.
        at: when, UTC.
        reservation: the reserve, or the reserve that a commit lowers.
        steps: what is added to the event's steps; a commit adds 0 or less.
    """

    seq: int
    at: str
    reservation: Reservation
    steps: int


@dataclass(frozen=True)
class LedgerView:
    """What a verified ledger held when it was read.

    Args:
        path: its file.
        replay: its state after the last entry.
        changes: every charge, in order.
        digests: hash of each entry, in order.
    """

    path: Path
    replay: Replay
    changes: tuple[Change, ...]
    digests: tuple[bytes, ...]

    @property
    def site(self) -> str:
        """Whose ledger it is; empty where nothing was written yet."""
        return self.replay.site

    @property
    def head(self) -> Head:
        """Number and hash of the last entry."""
        return self.replay.head

    def spent(self, unit: Unit, delta: float, study: str | None = None) -> float:
        """Return ε at `delta` of everything ever released here, or of one study."""
        events = self.replay.events(study)
        return accountant.epsilon(events, delta, unit, self.replay.records_per_person())

    def events(self, study: str | None = None) -> tuple[Event, ...]:
        """Return everything released here, or for one study, merged by equal cost."""
        return tuple(self.replay.events(study))

    def studies(self) -> dict[str, StudyAccount]:
        """Return every study's account, by name."""
        return study_accounts(self.replay)

    def require(self, kept_head: Head) -> None:
        """Refuse a ledger that does not hold a head that was seen before.

        Raises:
            LedgerError: an older copy was put back, or entries were altered.
        """
        ends, seq = len(self.digests), kept_head.seq
        if seq > 0 and (seq > ends or self.digests[seq - 1].hex() != kept_head.digest):
            raise LedgerError(
                f"{self.path}: the ledger ends at entry {ends} and does not hold entry {seq} "
                f"({kept_head.digest[:16]}…), which was seen before; an older copy was put back, "
                "or entries were altered; restore the newest copy",
                min(seq, ends + 1),
            )


def read_ledger(path: Path) -> LedgerView:
    """Read and verify a ledger that others may be writing to at this moment.

    Raises:
        LedgerError: there is none, others may read it, or something in it is wrong; the first
            bad entry is named.

    Guarantees: no entry, table or mode is changed, and no ledger is founded.
    """
    rows = LedgerRows(path, _connect(path))
    try:
        rows.check_schema()
        return _replayed(rows)
    finally:
        rows.close()


def _replayed(rows: LedgerRows) -> LedgerView:
    replay, changes, digests = Replay(), list[Change](), list[bytes]()
    for entry in rows.rows_after(replay.head):
        before = replay.pending.get(entry.body.get("reserve", 0))
        replay.apply(entry)
        digests.append(entry.digest)
        changes += _changed(entry, replay, before)
    return LedgerView(rows.path, replay, tuple(changes), tuple(digests))


def _changed(entry: Entry, replay: Replay, before: Reservation | None) -> list[Change]:
    """Return what an applied entry changed."""
    if entry.kind == "reserve":
        made = replay.pending[entry.seq]
        return [Change(entry.seq, made.at, made, made.event.steps)]
    if entry.kind == "commit" and before is not None:
        at, unspent = str(entry.body.get("at", "")), before.event.steps - entry.body["steps"]
        return [Change(entry.seq, at, before, -unspent)]
    return []


def _connect(path: Path) -> sqlite3.Connection:
    """Open for reading; where the folder cannot be written either, as a file that stands still."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise LedgerError(f"{path}: there is no ledger to read ({error.strerror})") from None
    if mode & 0o077:
        raise open_to_others(path, mode)
    with explained(path):
        if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
            return _checked(path, "mode=rw")
        waiting = path.with_name(path.name + "-wal")
        stands_still = not waiting.exists() or waiting.stat().st_size == 0
        return _checked(path, "mode=ro&immutable=1" if stands_still else "mode=ro")


def _checked(path: Path, options: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{options}"
    connection = sqlite3.connect(uri, timeout=BUSY_S, isolation_level=None, uri=True)
    try:
        for pragma in ("query_only = ON", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection
