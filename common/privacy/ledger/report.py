"""What each study has spent, from the state of a ledger."""

from dataclasses import dataclass

from common.privacy.accountant import epsilon
from common.privacy.events import Event, ExactThroughSecureSum
from common.privacy.ledger.state import Opening, Replay


@dataclass(frozen=True)
class StudyAccount:
    """What one study has spent at this site.

    Args:
        opening: the study's terms.
        events: everything released for it, merged; a reserve without commit in full.
        epsilon: ε of these events, by the study's unit at its δ.
        exact: what left exact inside secure sums: not differentially private.
    """

    opening: Opening
    events: tuple[Event, ...]
    epsilon: float
    exact: tuple[ExactThroughSecureSum, ...]


def study_accounts(replay: Replay) -> dict[str, StudyAccount]:
    """Return every study's account, by name."""
    return {name: _account(replay, opening) for name, opening in replay.openings.items()}


def _account(replay: Replay, opening: Opening) -> StudyAccount:
    events = tuple(replay.events(opening.study))
    spent = epsilon(events, opening.delta, opening.unit, replay.records_per_person())
    exact = tuple(event for event in events if isinstance(event, ExactThroughSecureSum))
    return StudyAccount(opening, events, spent, exact)
