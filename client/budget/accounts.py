"""A site's budget in figures: what was spent, of which cap, what is left, and against whom."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from client.budget.places import Place, look
from common.config import SitePolicy
from common.privacy import onlookers, plan
from common.privacy.accountant import merge
from common.privacy.events import DiscreteGaussianShare, Event, ExactThroughSecureSum, Unit
from common.privacy.ledger import Head, LedgerView, Opening
from common.privacy.tradeoff import right_of_hundred


@dataclass(frozen=True)
class ByOnlooker:
    """ε against each onlooker; infinity where nothing bounds it.

    Args:
        outside: readers of the released sums and of the model.
        coordinator: the coordinator with as many colluding sites as are tolerated.
        colluding_sites: how many those are; None where noise was never shared.
        broken: anybody, if secure aggregation were broken outright.
    """

    outside: float
    coordinator: float
    colluding_sites: int | None
    broken: float


@dataclass(frozen=True)
class ExactRelease:
    """Numbers that left without noise inside secure sums: not differentially private.

    Args:
        study: for which study.
        what: which numbers.
        times: in how many sums.
        min_persons: fewest persons behind each, as the site's policy asks.
    """

    study: str
    what: str
    times: int
    min_persons: int


@dataclass(frozen=True)
class Account:
    """What one study spent, or all studies together.

    Args:
        name: the study; empty for all of them.
        unit: whom ε speaks about.
        delta: δ that belongs to every ε here.
        spent: ε of everything released, in the worst case that was charged.
        cap: the most that the site allows; infinity where it sets none.
        more_rounds: training rounds like the last that every cap still allows; None where
            there was no noised round yet, or no cap.
        rounds: training rounds charged.
        last_charge: when something was last charged, UTC; empty where nothing was.
        by: the same ε against each onlooker.
        right_of_hundred: of 100 guesses whether a unit took part, how many can be right; 100
            where model updates left without noise.
        unfinished: rounds that were charged and broke off; they count in full.
        is_exact: whether model updates left without noise, so that ε says nothing about them.
    """

    name: str
    unit: Unit
    delta: float
    spent: float
    cap: float
    more_rounds: int | None
    rounds: int
    last_charge: str
    by: ByOnlooker
    right_of_hundred: int
    unfinished: int
    is_exact: bool

    @property
    def left(self) -> float:
        """What the cap still allows; infinity without one."""
        return max(0.0, self.cap - self.spent)


@dataclass(frozen=True)
class SiteBudget:
    """A site's whole budget, from its own ledger.

    Args:
        label: how a table names the site.
        site: its name.
        founded: whether there is a ledger at all.
        ledger: the ledger's own number.
        head: of the ledger when it was read.
        read_at: when, UTC.
        whole: all studies together, under the site's cap.
        studies: each study, in the order of opening.
        exact: what left without noise.
    """

    label: str
    site: str
    founded: bool
    ledger: str
    head: Head
    read_at: str
    whole: Account
    studies: tuple[Account, ...]
    exact: tuple[ExactRelease, ...]


def now() -> str:
    """Return the time of the wall clock, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def budget_of(place: Place, read_at: str) -> SiteBudget:
    """Read a site's budget.

    Raises:
        LedgerError: the ledger is gone, another site's, or cannot be trusted.
    """
    return described(place, look(place.folder), read_at)


def described(place: Place, view: LedgerView | None, read_at: str) -> SiteBudget:
    """Return the budget of a site whose ledger was read; None stands for an empty one."""
    policy = place.folder.policy
    if view is None:
        whole = _nothing(policy)
        return SiteBudget(place.label, policy.site, False, "", Head(0, ""), read_at, whole, (), ())
    openings = view.replay.openings
    return SiteBudget(
        label=place.label,
        site=policy.site,
        founded=True,
        ledger=view.replay.ledger_id,
        head=view.head,
        read_at=read_at,
        whole=_whole(view, policy),
        studies=tuple(_study(view, opening, policy) for opening in openings.values()),
        exact=exact_releases(view),
    )


def exact_releases(view: LedgerView) -> tuple[ExactRelease, ...]:
    """Return what left without noise, and how often."""
    found: Counter[tuple[str, str, int]] = Counter()
    for change in view.changes:
        event = change.reservation.event
        if change.seq == change.reservation.seq and isinstance(event, ExactThroughSecureSum):
            found[change.reservation.study, event.what, event.min_persons] += 1
    return tuple(ExactRelease(s, what, times, n) for (s, what, n), times in found.items())


def by_onlooker(
    events: tuple[Event, ...], delta: float, unit: Unit, records_per_person: int | None
) -> ByOnlooker:
    """Return ε of a history against each onlooker."""
    found = onlookers.epsilon_by_onlooker(events, delta, unit, records_per_person)
    shares = [event for event in events if isinstance(event, DiscreteGaussianShare)]
    colluding = min((share.total - share.honest for share in shares), default=None)
    return ByOnlooker(
        found[onlookers.OUTSIDE], found[onlookers.COLLUDING], colluding, found[onlookers.BROKEN]
    )


def _study(view: LedgerView, opening: Opening, policy: SitePolicy) -> Account:
    cap = min(opening.study_epsilon, policy.study_cap)
    caps = (
        (opening.study, cap, opening.delta, opening.unit),
        ("", policy.max_epsilon, policy.delta, cast("Unit", policy.unit)),
    )
    return _account(view, opening.study, opening.unit, opening.delta, cap, caps)


def _whole(view: LedgerView, policy: SitePolicy) -> Account:
    unit = cast("Unit", policy.unit)
    caps = (("", policy.max_epsilon, policy.delta, unit),)
    return _account(view, "", unit, policy.delta, policy.max_epsilon, caps)


def _account(
    view: LedgerView,
    name: str,
    unit: Unit,
    delta: float,
    cap: float,
    caps: tuple[tuple[str, float, float, Unit], ...],
) -> Account:
    events, records = view.events(name or None), view.replay.records_per_person()
    charged = [c.reservation for c in view.changes if name in ("", c.reservation.study)]
    training = [one for one in charged if one.what == "training"]
    by = by_onlooker(events, delta, unit, records)
    is_exact = any(isinstance(one.event, ExactThroughSecureSum) for one in training)
    return Account(
        name=name,
        unit=unit,
        delta=delta,
        spent=by.coordinator,
        cap=cap,
        more_rounds=_more_rounds(view, training[-1].event, caps) if training else None,
        rounds=len({one.seq for one in training}),
        last_charge=charged[-1].at if charged else "",
        by=by,
        right_of_hundred=100 if is_exact else right_of_hundred(merge(events, unit, records)),
        unfinished=sum(name in ("", one.study) for one in view.replay.pending.values()),
        is_exact=is_exact,
    )


def _more_rounds(
    view: LedgerView, one_round: Event, caps: tuple[tuple[str, float, float, Unit], ...]
) -> int | None:
    """Return how many rounds like the last every cap allows."""
    records = view.replay.records_per_person()
    allowed = [
        plan.affordable_rounds(view.events(name or None), one_round, cap, delta, unit, records)
        for name, cap, delta, unit in caps
    ]
    return min((rounds for rounds in allowed if rounds is not None), default=None)


def _nothing(policy: SitePolicy) -> Account:
    return Account(
        name="",
        unit=cast("Unit", policy.unit),
        delta=policy.delta,
        spent=0.0,
        cap=policy.max_epsilon,
        more_rounds=None,
        rounds=0,
        last_charge="",
        by=ByOnlooker(0.0, 0.0, None, 0.0),
        right_of_hundred=right_of_hundred(merge([])),
        unfinished=0,
        is_exact=False,
    )
