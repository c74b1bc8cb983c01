"""A site's append-only account of privacy spent: one SQLite file. Reserve, act, commit.

`reserve` is on disk before it returns, and before any data is read; `commit` afterwards says
how many steps were really taken. A crash in between leaves a reserve that counts in full, so
a ledger over-counts at worst. Every row is verified before it is counted.

One site, one file, any number of processes: writers take turns (BEGIN IMMEDIATE), and each
first reads what the others appended. All persons of a site share its charges: each has the
same chance to be sampled, so one account stands for every person.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from common.errors import LedgerError, OutOfOrder
from common.privacy import accountant
from common.privacy.events import Event, Unit
from common.privacy.ledger.caps import check_caps, check_times
from common.privacy.ledger.chain import START, Entry, Head, next_entry
from common.privacy.ledger.file import LedgerFile
from common.privacy.ledger.report import StudyAccount, study_accounts
from common.privacy.ledger.state import (
    Opening,
    Replay,
    Reservation,
    check_terms,
    opening_to,
    reservation_from,
    reservation_to,
)


def utc_now() -> datetime:
    """Return the time of the wall clock."""
    return datetime.now(UTC)


class Ledger:
    """An open ledger. Use `Ledger.open`, and as a context manager.

    Guarantees: what `spent` returns is never below what was released after a reserve
    returned, whatever process was killed whenever.
    """

    def __init__(self, file: LedgerFile, clock: Callable[[], datetime]) -> None:
        self._file = file
        self._clock = clock
        self._replay = Replay()
        self._is_ahead = False

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        site: str,
        kept_head: Head | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> Self:
        """Open a site's ledger, or found it, and verify every entry.

        Args:
            path: the file; created with mode 0600 where there is none.
            site: the site's name; a ledger serves one site only.
            kept_head: a head that this ledger must extend.
            clock: the time of entries.

        Raises:
            LedgerError: the file is damaged, altered, older than `kept_head`, another site's,
                readable by others, read-only, or not a ledger.
        """
        ledger = cls(LedgerFile(path), clock)
        try:
            ledger.verify(kept_head)
            ledger._found(site)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was reserved stays reserved."""
        self._file.close()

    def open_study(self, opening: Opening) -> None:
        """Record the terms of a study; the same terms twice, none between, make one entry.

        Raises:
            LedgerError: the ledger cannot be written, or is damaged.
            PrivacyError: the study was opened with another unit or δ before.
        """
        with self._turn():
            before = self._replay.openings.get(opening.study)
            if before != opening or not self._replay.is_in_force(opening):
                check_terms(before, opening)
                self._append("open", opening_to(opening))

    def reserve(
        self,
        study: str,
        event: Event,
        *,
        round: int,  # noqa: A002
        what: str = "training",
        run: str = "",
        attempt: int = 0,
        max_grad_norm: float = 0.0,
        model_hash: str = "",
        most: int | None = None,
    ) -> Reservation:
        """Charge a study for the most that may happen now; durable when it returns.

        Args:
            study: an opened study.
            event: what may happen at most.
            round: the round.
            what: what it is for; a (study, run, round, attempt, what) is reserved once only.
            run: the coordinator's run.
            attempt: the attempt at the round.
            max_grad_norm: clipping norm C; 0 where nothing is clipped.
            model_hash: hash of the model that came with the request.
            most: charges of this study for this purpose, over all runs; None: any number.

        Raises:
            BudgetSpent: a cap or `most` would be exceeded; nothing was charged.
            OutOfOrder: this was reserved before; nothing was charged.
            LedgerError: the study is not open, or the ledger is damaged or cannot be written.
        """
        asked = Reservation(
            0, study, run, round, attempt, what, event, max_grad_norm, model_hash, at=""
        )
        with self._turn():
            opening = self._opening(study)
            self._refuse_repeat(asked)
            check_times(self._replay, study, what, most)
            check_caps(self._replay, opening, event)
            return reservation_from(self._append("reserve", reservation_to(asked)))

    def commit(self, reservation: Reservation, steps: int | None = None) -> None:
        """Record how many of the reserved steps were taken; None: all of them.

        Raises:
            LedgerError: the reserve has a commit already, or fewer steps were reserved.
        """
        taken = reservation.event.steps if steps is None else steps
        with self._turn():
            pending = self._replay.pending.get(reservation.seq)
            if pending != reservation:
                raise LedgerError(
                    f"{self._file.path}: entry {reservation.seq} is not open for a commit"
                )
            if not 0 <= taken <= pending.event.steps:
                raise LedgerError(
                    f"{self._file.path}: {taken} steps cannot be committed where entry "
                    f"{reservation.seq} reserved {pending.event.steps}"
                )
            self._append("commit", {"reserve": reservation.seq, "steps": taken})

    def spent(self, unit: Unit, delta: float, study: str | None = None) -> float:
        """Return ε at `delta` of everything ever released here, or of one study.

        Guarantees: never under; reserves without commit count in full.
        """
        replay = self._read()
        events = replay.events(study)
        return accountant.epsilon(events, delta, unit, replay.records_per_person())

    def events(self, study: str | None = None) -> tuple[Event, ...]:
        """Return everything released here, or for one study, merged by equal cost."""
        return tuple(self._read().events(study))

    def studies(self) -> dict[str, StudyAccount]:
        """Return every study's account, by name."""
        return study_accounts(self._read())

    def pending(self) -> tuple[Reservation, ...]:
        """Return the reserves without a commit, oldest first."""
        return tuple(self._read().pending.values())

    def is_committed(
        self,
        study: str,
        *,
        run: str,
        round: int,  # noqa: A002
        attempt: int,
        what: str,
    ) -> bool:
        """Return whether a round was charged and its charge committed."""
        replay = self._read()
        seq = replay.keys.get((study, run, round, attempt, what))
        return seq is not None and seq not in replay.pending

    def head(self) -> Head:
        """Return the head: number and hash of the last entry."""
        return self._read().head

    def entries(self, after: int = 0) -> tuple[Entry, ...]:
        """Return the entries numbered above `after`, verified, for reports."""
        return tuple(e for e in self._file.rows_after(Head(0, START.hex())) if e.seq > after)

    def verify(self, kept_head: Head | None = None) -> Head:
        """Check schema, chain and meaning of every entry from the first on.

        Args:
            kept_head: a head that somebody kept; the ledger must hold it.

        Raises:
            LedgerError: something is wrong; the first bad entry is named.
        """
        self._file.check_schema()
        replay = Replay()
        for entry in self._file.rows_after(replay.head):
            replay.apply(entry)
        self._replay = replay
        if kept_head is not None:
            self.require(kept_head)
        return replay.head

    def require(self, kept_head: Head) -> None:
        """Refuse a ledger that does not hold a head that was seen before.

        Raises:
            LedgerError: an older copy was put back, or entries were altered.
        """
        if kept_head.seq > 0 and self._file.hash_of(kept_head.seq) != kept_head.digest:
            raise LedgerError(
                f"{self._file.path}: the ledger ends at entry {self._replay.head.seq} and does not "
                f"hold entry {kept_head.seq} ({kept_head.digest[:16]}…), which was seen before; an "
                "older copy was put back, or entries were altered; restore the newest copy"
            )

    def _found(self, site: str) -> None:
        with self._turn():
            if not self._replay.site:
                self._append("genesis", {"ledger": secrets.token_hex(16), "site": site})
        if self._replay.site != site:
            raise LedgerError(
                f"{self._file.path}: this ledger belongs to site {self._replay.site!r}, not "
                f"{site!r}; every site keeps a ledger of its own"
            )

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the write lock, with everything that others appended taken into account.

        A block that fails leaves nothing behind, so what it appended is forgotten here too.
        """
        try:
            with self._file.turn():
                self._read()
                yield
        except BaseException:
            if self._is_ahead:
                self._replay, self._is_ahead = Replay(), False
            raise
        self._is_ahead = False

    def _read(self) -> Replay:
        for entry in self._file.rows_after(self._replay.head):
            self._replay.apply(entry)
        return self._replay

    def _append(self, kind: str, body: dict[str, Any]) -> Entry:
        at = self._clock().isoformat(timespec="seconds")
        entry = next_entry(self._replay.head, kind, {**body, "at": at})
        self._file.insert(entry)
        self._is_ahead = True
        self._replay.apply(entry)
        return entry

    def _refuse_repeat(self, asked: Reservation) -> None:
        before = self._replay.keys.get(asked.key)
        if before is not None:
            raise OutOfOrder(
                f"{asked.study}: {asked.what} of round {asked.round}, attempt {asked.attempt} is "
                f"entry {before} of the ledger already; a repeated request is refused"
            )

    def _opening(self, study: str) -> Opening:
        if study not in self._replay.openings:
            raise LedgerError(f"{self._file.path}: study {study!r} was not opened; open it first")
        return self._replay.openings[study]
