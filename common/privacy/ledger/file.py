"""The one SQLite file under a ledger: opening it safely, taking turns, reading checked rows."""

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import LedgerError
from common.privacy.ledger.chain import Entry, Head, canonical, checked_entry
from common.privacy.ledger.schema import APPLICATION_ID, MIGRATIONS

BUSY_S = 60.0
_BUSY_PAUSE_S = 0.02


class LedgerRows:
    """An open file's checked rows, for whoever reads and whoever writes.

    Args:
        path: the file.
        connection: to it; closed by `close`.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def close(self) -> None:
        """Close the file."""
        with explained(self.path):
            self._connection.close()

    def rows_after(self, head: Head) -> Iterator[Entry]:
        """Yield the entries after `head`, each checked against the one before."""
        query = "SELECT seq, kind, body, prev, hash FROM entry WHERE seq > ? ORDER BY seq"
        with explained(self.path):
            for row in self._connection.execute(query, (head.seq,)):
                entry = checked_entry(head, row)
                head = entry.head
                yield entry

    def hash_of(self, seq: int) -> str:
        """Return the hash of an entry; empty where there is none."""
        query = "SELECT hash FROM entry WHERE seq = ?"
        with explained(self.path):
            row = self._connection.execute(query, (seq,)).fetchone()
        return row[0].hex() if row else ""

    def check_schema(self) -> None:
        """Refuse a file in which a table or a trigger is missing, altered or added.

        Raises:
            LedgerError: naming what differs.
        """
        expected = {_name(text): text for script in MIGRATIONS for text in script}
        with explained(self.path):
            rows = self._connection.execute("SELECT name, sql FROM sqlite_schema").fetchall()
        found = dict(rows)
        for name in sorted(expected.keys() | found.keys()):
            if found.get(name) != expected.get(name):
                state = "missing" if name not in found else "altered or not ours"
                raise LedgerError(
                    f"{self.path}: {name!r} in the ledger's schema is {state}; somebody changed "
                    "the file; restore the newest copy and verify it against a kept head"
                )


class LedgerFile(LedgerRows):
    """An open file that can be written; every failure is a LedgerError that says what to do.

    Args:
        path: the file; created with mode 0600 where there is none.

    Raises:
        LedgerError: the file cannot be opened or written, others may read it, its schema is
            not the one that this version writes.
    """

    def __init__(self, path: Path) -> None:
        self._process = os.getpid()
        _prepare(path)
        self._inode = _inode(path)
        with explained(path):
            super().__init__(path, sqlite3.connect(path, timeout=BUSY_S, isolation_level=None))
        try:
            with explained(path):
                self._set_up()
                self.check_schema()
        except BaseException:
            self._connection.close()
            raise

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the write lock; what was inserted is durable when the block ends well."""
        if os.getpid() != self._process:
            raise LedgerError(f"{self.path}: an open ledger cannot cross a fork; open it again")
        with explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._check_place()
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def insert(self, entry: Entry) -> None:
        """Append an entry; the file's own trigger refuses one that does not extend the head."""
        row = (entry.seq, entry.kind, canonical(entry.body), entry.prev, entry.digest)
        with explained(self.path):
            self._connection.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", row)

    def _check_place(self) -> None:
        """Refuse to write to a file that its path no longer leads to: it is lost with this run."""
        if _inode(self.path) != self._inode:
            raise LedgerError(
                f"{self.path}: the ledger was exchanged or taken away while it was in use; nothing "
                "was charged; restore the newest copy, verify it against a kept head, start anew"
            )

    def _set_up(self) -> None:
        execute = self._connection.execute
        _patiently(lambda: execute("PRAGMA journal_mode = WAL"))
        for pragma in ("synchronous = FULL", "trusted_schema = OFF", "foreign_keys = ON"):
            execute(f"PRAGMA {pragma}")
        with self.turn():
            version = int(execute("PRAGMA user_version").fetchone()[0])
            number = int(execute("PRAGMA application_id").fetchone()[0])
            has_tables = execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] > 0
            if version > len(MIGRATIONS) or (has_tables and number != APPLICATION_ID):
                raise LedgerError(
                    f"{self.path}: expected a ledger of version up to {len(MIGRATIONS)}, found "
                    f"application {number:#x} of version {version}; it is no ledger, or a newer one"
                )
            for script in MIGRATIONS[version:]:
                for statement in script:
                    execute(statement)
            if version < len(MIGRATIONS):
                execute(f"PRAGMA application_id = {APPLICATION_ID}")
                execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _inode(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from every other; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _name(statement: str) -> str:
    return statement.split()[2]


def _patiently(action: Callable[[], object]) -> None:
    """Repeat an action that SQLite does not wait for by itself while others hold the file."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            action()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(_BUSY_PAUSE_S)


def _prepare(path: Path) -> None:
    """Create the file for its owner only, or refuse one that others can read or nobody write.

    A file that is there is not opened: closing it would drop the locks of every other connection of
    this process (POSIX), and whoever reads it next would take its write-ahead log away.
    """
    try:
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise LedgerError(f"{path}: the ledger cannot be opened for writing: {error}") from None
    check_mode(path)


def check_mode(path: Path) -> None:
    """Refuse a file that others may read, or that its owner may not write.

    Raises:
        LedgerError: which, and what to do.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise LedgerError(f"{path}: the ledger cannot be opened for writing: {error}") from None
    if not mode & stat.S_IWUSR:
        raise LedgerError(f"{path}: the ledger is read-only (mode {mode:04o}); chmod 600 it")
    if mode & 0o077:
        raise open_to_others(path, mode)


def open_to_others(path: Path, mode: int) -> LedgerError:
    """Return the error for a ledger that others may read."""
    return LedgerError(f"{path}: others may read the ledger (mode {mode:04o}); chmod 600 it")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say what went wrong with the file, and what to do, in a LedgerError."""
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: {_advice(str(error))} ({error})") from None


def _advice(text: str) -> str:
    table = {
        "full": "the disk is full; nothing was charged and nothing may be released; free space",
        "disk I/O": "the disk refused to write; nothing may be released; check space and quota",
        "readonly": "the ledger cannot be written; nothing may be released; check its permissions",
        "locked": f"another process held the ledger for {BUSY_S:g} s; end it or try again",
        "malformed": "the ledger is damaged; restore the newest copy and verify it",
        "not a database": "this file is not a ledger; restore the newest copy and verify it",
    }
    found = [advice for word, advice in table.items() if word in text]
    return found[0] if found else "the ledger refused the operation"
