"""One step a stage: policy gate, then the protocol, and for MASK the work itself."""

import os
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial

from client.contribute import contribution
from client.policy import TASKS, Ask, gate, gate_hours, gate_study
from client.session import Session
from client.trail import answered, refused
from common.errors import (
    OutOfOrder,
    PrivacyError,
    ProtocolError,
    Replayed,
    TacitError,
    TooFewSites,
)
from common.parameters import Arrays, model_hash
from common.secagg.checks import COORDINATOR
from common.secagg.masking import check_mask
from common.secagg.masks import Words
from common.secagg.messages import (
    AdvertiseRequest,
    ConfirmRequest,
    MaskRequest,
    ShareRequest,
    decode,
)
from common.secagg.riding import JOINED, Riding, ride
from common.secagg.roster import Context
from common.secagg.site import Given, advance, refuse
from common.secagg.states import Confirmed, Keyed, Masked, Shared, State
from common.settings import config_hash
from common.wire import Reply, Request


@dataclass(frozen=True)
class Answer:
    """What follows from a message: the states to keep, and the reply to send."""

    states: Riding
    reply: Reply


def task_of(request: Request) -> str:
    """The task that a request belongs to.

    Raises:
        ProtocolError: there is no such task.
    """
    task = str(request.fields.get("task", ""))
    if task not in TASKS:
        raise ProtocolError(f"There is no task {task!r}; expected one of {', '.join(TASKS)}.")
    return task


def answer(request: Request, session: Session, states: Riding) -> Answer:
    """Answer one message of the coordinator.

    A breach of the protocol is answered with whom this site accuses; nothing else of a failure
    leaves the site but one word, which the caller chooses.

    Args:
        request: the message, already checked for form.
        session: the site in this run.
        states: what the last message left.

    Raises:
        TacitError: the request is refused; the states stay what they were.
    """
    body = bytes(request.fields["body"])  # type: ignore[arg-type]
    try:
        if request.stage in JOINED:
            take = partial(_take_half, request, session)
            after, reply = ride(session.member, request.stage, states, body, take)
        else:
            ending, reply = _take(request, session, request.stage, states.ending, body)
            after = Riding(ending)
    except Replayed:
        raise
    except ProtocolError as error:
        refused(session.site, request.stage, error)
        return Answer(states, Reply({"body": refuse(session.member, error)}))
    return Answer(after, Reply({"body": reply}))


def _take(
    request: Request, session: Session, stage: str, state: State | None, body: bytes
) -> tuple[State, bytes]:
    """Take one stage: the site's own gate, the work in MASK, then the protocol."""
    if stage in ("advertise", "mask"):
        gate_hours(session.site.policy, datetime.now())
    if stage == "advertise":
        _gate(session, body, task_of(request))
    else:
        _same_study(session, state)
    _crowd(session, stage, body)
    given = Given(os.urandom, config_hash(session.study))
    if stage == "mask":
        state, given = _work(session, state, body, request.model)  # type: ignore[arg-type]
    after, reply = advance(session.member, stage, state, body, given)
    answered(session, stage, after)
    return after, reply


def _take_half(
    request: Request, session: Session, stage: str, state: State | None, body: bytes
) -> tuple[State, bytes]:
    """Take one half of a joined stage; its refusal leaves the other half as it is."""
    try:
        return _take(request, session, stage, state, body)
    except TacitError as error:
        refused(session.site, stage, error)
        raise


def _gate(session: Session, body: bytes, task: str) -> None:
    context = decode(AdvertiseRequest, body, COORDINATOR).context
    if context.task != task:
        raise ProtocolError(f"The message says {task!r}, what is signed says {context.task!r}.")
    cohort = tuple(session.member.policy.roster)
    last = context.round + context.steps - 1
    gate(session.site.policy, Ask(session.study, task, context.round, last, cohort), date.today())


def _same_study(session: Session, state: State | None) -> None:
    """Hold a round to the study and policy under which it was opened.

    The state lives longer than a run's configuration; without this, a round that was let pass
    for one study could go on under another.
    """
    if state is None:
        return
    context = state.context
    same = context.config_hash == config_hash(session.study)
    if not same or context.policy_id != session.member.policy.policy_id:
        raise OutOfOrder("the study or the site's policy changed since this round was opened")
    gate_study(session.site.policy, session.study, date.today())


def _crowd(session: Session, stage: str, body: bytes) -> None:
    """Hold the site's own floor, whatever the study's is: no sum of fewer sites."""
    fewest, there = session.site.policy.min_sites, None
    if stage == "share":
        there = len(decode(ShareRequest, body, COORDINATOR).adverts)
    if stage == "mask":
        there = len(decode(MaskRequest, body, COORDINATOR).sharers)
    if stage == "confirm":
        there = len(decode(ConfirmRequest, body, COORDINATOR).uploads)
    if there is not None and there < fewest:
        left = "1 site is" if there == 1 else f"{there} sites are"
        raise TooFewSites(
            f"{left} left at {stage}; {session.site.name} joins no sum of fewer than {fewest}"
        )


def _work(
    session: Session, state: State | None, body: bytes, model: Arrays
) -> tuple[State | None, Given]:
    """Check the whole request first, then do the work that the round is about."""
    if not isinstance(state, Shared | Keyed | Masked | Confirmed):
        return state, Given(os.urandom)
    if state.context.task != "statistics":
        session.accept(model)
    hashed = model_hash(model)
    keyed = check_mask(session.member, state, body, model_hash=hashed)
    now = replace(keyed.context, round=keyed.context.round + keyed.step, model_hash=hashed)
    words_W = _contributed(session, now, model)
    return keyed, Given(os.urandom, model_hash=hashed, vector_W=words_W)


def _contributed(session: Session, now: Context, model: Arrays) -> Words:
    """What the site adds; an error in there is never answered in the protocol's own words.

    Raises:
        PrivacyError: the work raised a breach of the protocol, whose text would be sent.
    """
    try:
        return contribution(session, now, model)
    except Replayed:
        raise
    except ProtocolError as error:
        raise PrivacyError(f"the work ended with {type(error).__name__}: {error}") from error
