"""The caps of a study and of a site: what would exceed one is refused before it is charged."""

import math

from common.errors import BudgetSpent
from common.privacy.accountant import Cost, epsilon_of, merge, rdp_epsilon_of
from common.privacy.events import Event, ExactThroughSecureSum
from common.privacy.ledger.state import Opening, Replay


def check_caps(replay: Replay, opening: Opening, event: Event) -> None:
    """Refuse an event that would exceed the study's cap or the site's.

    Args:
        replay: everything charged so far.
        opening: the terms of the study that asks.
        event: what may happen at most.

    Raises:
        BudgetSpent: which cap, how large it is, and what the step would bring it to.
    """
    if isinstance(event, ExactThroughSecureSum):
        return
    records = replay.records_per_person()
    study = merge([*replay.events(opening.study), event], opening.unit, records)
    whose = f"study {opening.study!r}"
    _refuse_above(opening.study_epsilon, study, opening.delta, whose, opening.unit)
    for unit, terms in replay.site_terms.items():
        site = merge([*replay.events(), event], unit, records)
        whose = f"site {replay.site!r}"
        _refuse_above(terms.site_epsilon, site, terms.site_delta, whose, unit)


def check_times(replay: Replay, study: str, what: str, most: int | None) -> None:
    """Refuse one more charge of a study for a purpose than the site allows, in whatever run.

    Raises:
        BudgetSpent: it was charged that often already.
    """
    if most is None:
        return
    done = sum(key[0] == study and key[-1] == what for key in replay.keys)
    if done >= most:
        raise BudgetSpent(
            f"study {study!r} was charged {done} times for {what}, over all its runs, and the site "
            f"allows at most {most}; nothing was charged; ask for fewer, or have it allow more"
        )


def _refuse_above(cap: float, cost: Cost, delta: float, whose: str, unit: str) -> None:
    """Compare by Rényi DP first: where that bound is within the cap, the exact figure is too."""
    if math.isinf(cap) or rdp_epsilon_of(cost, delta) <= cap:
        return
    epsilon = epsilon_of(cost, delta)
    if not epsilon <= cap:
        raise BudgetSpent(
            f"{whose} may spend ε = {cap:g} per {unit} at δ = {delta:g}; this step would bring it "
            f"to ε = {epsilon:.4g}; nothing was charged; plan fewer steps or more noise, or have "
            "the site raise its cap"
        )
