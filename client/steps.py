"""One step a stage: policy gate, then the protocol, and for MASK the work itself."""

import os
from dataclasses import dataclass

from client.contribute import contribution
from client.folder import log
from client.policy import Ask, gate
from client.session import Session
from common.errors import ProtocolError, TooFewSites
from common.parameters import Arrays, model_hash
from common.secagg.checks import COORDINATOR
from common.secagg.messages import (
    AdvertiseRequest,
    ConfirmRequest,
    MaskRequest,
    ShareRequest,
    decode,
)
from common.secagg.site import Given, advance, open_dealings, refuse
from common.secagg.states import Shared, State
from common.settings import config_hash
from common.wire import VERSION, Reply, Request


@dataclass(frozen=True)
class Answer:
    """What follows from a message: the state to keep, and the reply to send."""

    state: State | None
    reply: Reply


def answer(request: Request, session: Session, state: State | None) -> Answer:
    """Answer one message of the coordinator.

    A breach of the protocol is answered with whom this site accuses; nothing else of a failure
    leaves the site but one word, which the caller chooses.

    Args:
        request: the message, already checked for form.
        session: the site in this run.
        state: what the last message left.

    Raises:
        TacitError: the request is refused; the state stays what it was.
    """
    if request.stage == "hello":
        return Answer(None, Reply({"version": VERSION, "site": session.site.name}))
    body = bytes(request.fields["body"])  # type: ignore[arg-type]
    member = session.member
    try:
        if request.stage == "advertise":
            _gate(session, body)
        _crowd(session, request.stage, body)
        if request.stage == "mask":
            state, given = _work(session, state, body, request.model)  # type: ignore[arg-type]
        else:
            given = Given(os.urandom, config_hash(session.study))
        after, reply = advance(member, request.stage, state, body, given)
    except ProtocolError as error:
        log(session.site.root, "refused", stage=request.stage, word="protocol", reason=str(error))
        return Answer(state, Reply({"body": refuse(member, error)}))
    return Answer(after, Reply({"body": reply}))


def _gate(session: Session, body: bytes) -> None:
    context = decode(AdvertiseRequest, body, COORDINATOR).context
    cohort = tuple(session.member.policy.roster)
    gate(session.site.policy, Ask(session.study, context.task, context.round, cohort))


def _crowd(session: Session, stage: str, body: bytes) -> None:
    """Hold the site's own floor, whatever the study's is: no sum of fewer sites."""
    fewest, there = session.site.policy.min_sites, None
    if stage == "share":
        there = len(decode(ShareRequest, body, COORDINATOR).adverts)
    if stage == "confirm":
        there = len(decode(ConfirmRequest, body, COORDINATOR).uploads)
    if there is not None and there < fewest:
        raise TooFewSites(
            f"{there} sites are left at {stage}; {session.site.name} joins no sum of fewer "
            f"than {fewest}"
        )


def _work(
    session: Session, state: State | None, body: bytes, model: Arrays
) -> tuple[State | None, Given]:
    """Check what the other sites dealt, then do the work that the round is about."""
    if not isinstance(state, Shared):
        return state, Given(os.urandom)
    keyed = open_dealings(session.member, state, decode(MaskRequest, body, COORDINATOR))
    words_W = contribution(session, state.context, model)
    return keyed, Given(os.urandom, model_hash=model_hash(model), vector_W=words_W)
