"""What a ledger's entries amount to: a replay that checks every entry as it goes.

Order: genesis first and once; a study is opened before it reserves; a commit names an
earlier reserve that has none yet, and at most its steps. A reserve without a commit counts
in full. Nothing here touches a file.
"""

from collections import Counter
from dataclasses import asdict, dataclass, fields
from typing import Any

from common.errors import LedgerError, PrivacyError
from common.privacy.events import ADJACENCY, UNITS, Event, Unit, from_dict, to_dict
from common.privacy.ledger.chain import START, Entry, Head


@dataclass(frozen=True)
class Opening:
    """The terms under which a study may spend here; the newest opening of a study counts.

    Args:
        study: the study's name.
        unit: the unit of the study's guarantee; never changes for a study.
        delta: δ of the study's guarantee; never changes for a study.
        study_epsilon: cap on ε of this study, by `unit` at `delta`.
        site_epsilon: cap on ε of everything ever released here, by `site_unit` at `site_delta`;
            the newest opening of any study sets it for all.
        site_delta: δ of the site's cap.
        site_unit: unit of the site's cap.
        fingerprint: hash of the data in use, so that a change of data shows.
        records_per_person: most records of one person, where known.
        adjacency: always "add_or_remove_one".
    """

    study: str
    unit: Unit
    delta: float
    study_epsilon: float
    site_epsilon: float
    site_delta: float
    site_unit: Unit = "person"
    fingerprint: str = ""
    records_per_person: int | None = None
    adjacency: str = ADJACENCY

    def __post_init__(self) -> None:
        if not self.study or self.unit not in UNITS or self.site_unit not in UNITS:
            raise PrivacyError(f"ledger: a study needs a name and a unit of {', '.join(UNITS)}")
        if not (0 < self.delta < 1 and 0 < self.site_delta < 1):
            raise PrivacyError("ledger: δ of a study and of a site must be above 0 and below 1")
        if not (self.study_epsilon >= 0 and self.site_epsilon >= 0):
            raise PrivacyError("ledger: a cap on ε must not be below 0")
        if self.adjacency != ADJACENCY:
            raise PrivacyError(f"ledger: the adjacency must be {ADJACENCY}")


@dataclass(frozen=True)
class Reservation:
    """A charge that was made before any data was read.

    Args:
        seq: the entry's number; a commit names it.
        study: who pays.
        run: the coordinator's run, in which round and attempt count.
        round: the round.
        attempt: the attempt at that round.
        what: what it is for: "training", "evaluation", …
        event: what may happen at most.
        max_grad_norm: clipping norm C; 0 where nothing is clipped.
        model_hash: hash of the model that came with the request.
        at: when, UTC.
    """

    seq: int
    study: str
    run: str
    round: int
    attempt: int
    what: str
    event: Event
    max_grad_norm: float
    model_hash: str
    at: str

    @property
    def key(self) -> tuple[str, str, int, int, str]:
        """Return what may be reserved once only."""
        return self.study, self.run, self.round, self.attempt, self.what


class Replay:
    """The state of a ledger after the entries applied so far."""

    def __init__(self) -> None:
        self.head = Head(0, START.hex())
        self.ledger_id = ""
        self.site = ""
        self.openings: dict[str, Opening] = {}
        self.site_terms: dict[Unit, Opening] = {}
        self.pending: dict[int, Reservation] = {}
        self.keys: dict[tuple[str, str, int, int, str], int] = {}
        self.totals: dict[str, Counter[Event]] = {}

    def apply(self, entry: Entry) -> None:
        """Take the next entry into account.

        Raises:
            LedgerError: the entry does not follow from those before; its number is named.
        """
        step = {
            "genesis": self._genesis,
            "open": self._open,
            "reserve": self._reserve,
            "commit": self._commit,
        }.get(entry.kind)
        if step is None or (entry.seq == 1) != (entry.kind == "genesis"):
            raise LedgerError(
                f"ledger: entry {entry.seq} of kind {entry.kind!r} cannot stand there", entry.seq
            )
        try:
            step(entry)
        except (PrivacyError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise LedgerError(
                f"ledger: entry {entry.seq} ({entry.kind}) is wrong: {error}", entry.seq
            ) from None
        self.head = entry.head

    def is_in_force(self, opening: Opening) -> bool:
        """Whether the site's cap is the one of these terms: another study may have set another."""
        now = self.site_terms.get(opening.site_unit)
        asked = (opening.site_epsilon, opening.site_delta)
        return now is not None and (now.site_epsilon, now.site_delta) == asked

    def events(self, study: str | None = None) -> list[Event]:
        """Return everything released for a study, or for all; merged, reserves in full."""
        totals = self.totals.values() if study is None else [self.totals.get(study, Counter())]
        merged: Counter[Event] = Counter()
        for total in totals:
            merged.update(total)
        return [event.with_steps(steps) for event, steps in merged.items() if steps > 0]

    def records_per_person(self) -> int | None:
        """Return the most records of one person; None where a study by record does not know."""
        by_record = [o.records_per_person for o in self.openings.values() if o.unit == "record"]
        found = [number for number in by_record if number is not None]
        return max(found) if found and len(found) == len(by_record) else None

    def _genesis(self, entry: Entry) -> None:
        self.ledger_id, self.site = str(entry.body["ledger"]), str(entry.body["site"])

    def _open(self, entry: Entry) -> None:
        opening = opening_from(entry.body)
        check_terms(self.openings.get(opening.study), opening)
        self.openings[opening.study] = self.site_terms[opening.site_unit] = opening
        self.totals.setdefault(opening.study, Counter())

    def _reserve(self, entry: Entry) -> None:
        reservation = reservation_from(entry)
        if reservation.study not in self.openings:
            raise PrivacyError(f"study {reservation.study!r} was never opened")
        if reservation.key in self.keys:
            raise PrivacyError(f"it repeats entry {self.keys[reservation.key]}")
        self.keys[reservation.key] = entry.seq
        self.pending[entry.seq] = reservation
        self.totals[reservation.study][reservation.event.with_steps(1)] += reservation.event.steps

    def _commit(self, entry: Entry) -> None:
        seq, steps = _whole(entry.body["reserve"]), _whole(entry.body["steps"])
        if seq not in self.pending:
            raise PrivacyError(f"entry {seq} is no reserve without a commit")
        reservation = self.pending[seq]
        if not 0 <= steps <= reservation.event.steps:
            raise PrivacyError(
                f"{steps} steps, where entry {seq} reserved {reservation.event.steps}"
            )
        del self.pending[seq]
        unspent = reservation.event.steps - steps
        self.totals[reservation.study][reservation.event.with_steps(1)] -= unspent


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise PrivacyError(f"expected a whole number, found {value!r}")
    return value


def check_terms(before: Opening | None, after: Opening) -> None:
    """Refuse to change what a study's ε means after it was opened.

    Raises:
        PrivacyError: unit or δ differ from the study's earlier opening.
    """
    if before is not None and (before.unit, before.delta) != (after.unit, after.delta):
        raise PrivacyError(
            f"study {after.study!r} was opened by {before.unit} at δ = {before.delta:g}; found "
            f"{after.unit} at δ = {after.delta:g}; a study with other terms needs another name"
        )


def opening_to(opening: Opening) -> dict[str, Any]:
    """Return the body of an "open" entry, without its time; infinity is written as null."""
    body = asdict(opening)
    for name in ("study_epsilon", "site_epsilon"):
        body[name] = None if body[name] == float("inf") else body[name]
    return body


def opening_from(body: dict[str, Any]) -> Opening:
    """Read the body of an "open" entry."""
    found = {field.name: body[field.name] for field in fields(Opening)}
    for name in ("study_epsilon", "site_epsilon"):
        found[name] = float("inf") if found[name] is None else found[name]
    return Opening(**found)


def reservation_to(reservation: Reservation) -> dict[str, Any]:
    """Return the body of a "reserve" entry, without its time."""
    names = [field.name for field in fields(Reservation) if field.name not in ("seq", "at")]
    body = {name: getattr(reservation, name) for name in names}
    return {**body, "event": to_dict(reservation.event)}


def reservation_from(entry: Entry) -> Reservation:
    """Read a "reserve" entry."""
    names = [field.name for field in fields(Reservation) if field.name not in ("seq", "event")]
    found = {name: entry.body[name] for name in names}
    return Reservation(seq=entry.seq, event=from_dict(entry.body["event"]), **found)
