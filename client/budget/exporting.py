"""A ledger in dp_accounting's vocabulary, as JSON, so that another accountant can read it."""

from typing import Any

import dp_accounting

from client.budget.form import document
from common.privacy import events
from common.privacy.accountant import epsilon
from common.privacy.events import ADJACENCY, Event, ExactThroughSecureSum, Unit
from common.privacy.ledger import LedgerView, Opening

_NOTES = (
    "dp_event holds dp_accounting's own class and field names, as DpEvent.to_named_tuple gives "
    "them; composing it under add-or-remove-one adjacency gives the ε at δ of the same entry.",
    "A sum with noise in shares stands as the Gaussian mechanism that bounds it; the total "
    "variation between the two, below 1e-17 a step, is not in dp_event.",
    "exact lists what left without noise: it has no ε, and an accountant that counted it would "
    "answer infinity (NonPrivateDpEvent).",
    "A reserve without a commit stands in full.",
)


def exported(site: str, view: LedgerView | None, read_at: str) -> dict[str, Any]:
    """Return what `tacit budget export` prints."""
    openings = view.replay.openings.values() if view else ()
    return document(
        "export",
        site=site,
        ledger=view.replay.ledger_id if view else "",
        head={"seq": view.head.seq, "digest": view.head.digest} if view else None,
        read_at=read_at,
        adjacency=ADJACENCY,
        studies=[_study(view, opening) for opening in openings if view],
        notes=list(_NOTES),
    )


def _study(view: LedgerView, opening: Opening) -> dict[str, Any]:
    history = view.events(opening.study)
    noised = tuple(event for event in history if _is_noised(event, opening.unit))
    exact = [event for event in history if isinstance(event, ExactThroughSecureSum)]
    return {
        "study": opening.study,
        "unit": opening.unit,
        "delta": opening.delta,
        "epsilon": epsilon(noised, opening.delta, opening.unit),
        "dp_event": plain(dp_accounting.ComposedDpEvent([events.to_dp_event(e) for e in noised])),
        "events": [events.to_dict(event) for event in history],
        "exact": [{"what": one.what, "min_persons": one.min_persons} for one in exact],
        "by_another_unit": len(history) - len(noised) - len(exact),
    }


def _is_noised(event: Event, unit: Unit) -> bool:
    return not isinstance(event, ExactThroughSecureSum) and event.unit == unit


def plain(event: dp_accounting.DpEvent) -> dict[str, Any]:
    """Return a DpEvent as JSON values: its named tuple, with names."""
    return dict(_plain(event.to_named_tuple()))


def _plain(value: Any) -> Any:
    if hasattr(value, "_fields"):
        return {name: _plain(getattr(value, name)) for name in value._fields}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
