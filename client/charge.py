"""Every number that is about to leave is charged to the site's ledger before data is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from client.session import Session
from common.budget import round_event
from common.config import Study
from common.errors import BudgetSpent, OutOfOrder, Replayed
from common.privacy.events import Event, ExactThroughSecureSum, Unit
from common.privacy.ledger import Opening, Reservation
from common.secagg.roster import Context
from common.targets import counts_classes

WHAT = {"train": "training", "evaluate": "evaluation counts"}


@contextmanager
def charge(session: Session, context: Context) -> Iterator[None]:
    """Reserve before the block, commit after it; a block that fails stays charged in full.

    Raises:
        BudgetSpent: the round would exceed the study's or the site's cap, or the study was
            evaluated as often as the site allows; nothing was charged.
        Replayed: this very round was charged before.
        LedgerError: the ledger is damaged or cannot be written.
    """
    ledger = session.ledger
    ledger.open_study(opening_of(session))
    reservation = _reserve(session, context)
    yield
    ledger.commit(reservation)


def _reserve(session: Session, context: Context) -> Reservation:
    """Charge the round; how far the ledger has grown is not for the coordinator to read."""
    try:
        return session.ledger.reserve(
            session.study.name,
            event_of(session, context.task),
            round=context.round,
            what=what_of(session.study, context.task),
            run=context.run,
            attempt=context.attempt,
            max_grad_norm=session.study.privacy.max_grad_norm if context.task == "train" else 0.0,
            model_hash=context.model_hash.hex(),
            most=session.site.policy.max_evaluations if context.task == "evaluate" else None,
        )
    except OutOfOrder as error:
        raise Replayed("this very round was charged before") from error
    except BudgetSpent as error:
        where = " (policy.yaml, max_evaluations)" if context.task == "evaluate" else ""
        raise BudgetSpent(f"{error}{where}") from error


def event_of(session: Session, task: str) -> Event:
    """What one round of a task releases."""
    study = session.study
    if task == "train" and study.privacy.mode != "none":
        return round_event(study, len(session.roster), session.parameters)
    what = "model updates" if task == "train" else what_of(study, task)
    if task == "evaluate" and (study.dimensions or study.labels or _votes(study)):
        what = f"{what} and sums of ratings"
    return ExactThroughSecureSum(what, session.site.policy.min_persons)


def what_of(study: Study, task: str) -> str:
    """What a task releases, in words; which numbers, of what is summed before the first round."""
    if task in WHAT:
        return WHAT[task]
    parts = {
        "feature statistics": study.normalise == "federated",
        "counts of classes": counts_classes(study),
    }
    return " and ".join(name for name, is_asked in parts.items() if is_asked)


def _votes(study: Study) -> bool:
    return study.training.class_target == "raters"


def opening_of(session: Session) -> Opening:
    """The terms under which this study may spend at this site: the site's caps, not the study's."""
    policy, privacy = session.site.policy, session.study.privacy
    return Opening(
        study=session.study.name,
        unit=cast("Unit", privacy.unit),
        delta=privacy.target_delta,
        study_epsilon=min(privacy.target_epsilon, policy.study_cap),
        site_epsilon=policy.max_epsilon,
        site_delta=policy.delta,
        site_unit=cast("Unit", policy.unit),
        fingerprint=session.fingerprint,
    )
