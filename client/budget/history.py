"""How ε grew: the account after each charge, thinned out to what a plot can show."""

from collections import Counter
from dataclasses import dataclass

from common.privacy import accountant
from common.privacy.events import Event, ExactThroughSecureSum, Unit
from common.privacy.ledger import Change, LedgerView

MOST_POINTS = 48


@dataclass(frozen=True)
class Point:
    """The account after an entry.

    Args:
        seq: the entry's number.
        at: when, UTC.
        epsilon: ε of everything up to there.
    """

    seq: int
    at: str
    epsilon: float


def curve(view: LedgerView, study: str | None, unit: Unit, delta: float) -> tuple[Point, ...]:
    """Return how ε of a study, or of all, grew from nothing to what it is.

    Guarantees: the last point is what `LedgerView.spent` says; each point counts what was
        reserved by then in full.
    """
    noised = [change for change in view.changes if _counts(change, study)]
    shown = set(_spread(noised))
    totals: Counter[Event] = Counter()
    points = []
    for change in noised:
        totals[change.reservation.event.with_steps(1)] += change.steps
        if change.seq in shown:
            spent = _epsilon(totals, view, unit, delta)
            points.append(Point(change.seq, change.at, spent))
    return tuple(points)


def _counts(change: Change, study: str | None) -> bool:
    event = change.reservation.event
    mine = study is None or change.reservation.study == study
    return mine and change.steps != 0 and not isinstance(event, ExactThroughSecureSum)


def _spread(changes: list[Change]) -> list[int]:
    """Return the numbers of at most MOST_POINTS entries, evenly spread, the last among them."""
    if len(changes) <= MOST_POINTS:
        return [change.seq for change in changes]
    steps = (len(changes) - 1) / (MOST_POINTS - 1)
    return [changes[round(index * steps)].seq for index in range(MOST_POINTS)]


def _epsilon(totals: Counter[Event], view: LedgerView, unit: Unit, delta: float) -> float:
    events = [event.with_steps(steps) for event, steps in totals.items() if steps > 0]
    return accountant.epsilon(events, delta, unit, view.replay.records_per_person())
