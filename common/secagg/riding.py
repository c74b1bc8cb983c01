"""Keys of the next round, made while this one ends: ADVERTISE rides on CONFIRM, SHARE on UNMASK.

A steady round then costs three trips instead of five. The model of the next round is not
known when its keys are made, so its context leaves the model's hash out; MASK brings it,
and every mask and signature from there on binds it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from common.errors import TacitError
from common.secagg.checks import COORDINATOR
from common.secagg.messages import Pair, decode, encode
from common.secagg.progress import Replies, Requests
from common.secagg.roster import Member
from common.secagg.site import refuse
from common.secagg.states import Shared, State

CONFIRM_ADVERTISE = "confirm+advertise"
UNMASK_SHARE = "unmask+share"
JOINED = (CONFIRM_ADVERTISE, UNMASK_SHARE)
NOTHING = b""

Take = Callable[[str, State | None, bytes], tuple[State, bytes]]
"""Takes one stage alone: (stage, state, request) -> (next state, reply)."""


def join(first: Requests, second: Requests) -> Requests:
    """Return one request for each site that either of two stages asks; an empty half is none."""
    return {
        site: encode(Pair(first.get(site, NOTHING), second.get(site, NOTHING)))
        for site in sorted(first.keys() | second.keys())
    }


def part(replies: Replies) -> tuple[Requests, Requests]:
    """Return the replies to either stage; a reply that is no pair stands in both as it came."""
    first: Requests = {}
    second: Requests = {}
    for site, reply in replies.items():
        try:
            pair = decode(Pair, reply, site)
        except TacitError:
            pair = Pair(reply, reply)
        if pair.first:
            first[site] = pair.first
        if pair.second:
            second[site] = pair.second
    return first, second


@dataclass(frozen=True)
class Riding:
    """A site between two rounds: the state of the one that ends and of the one that begins."""

    ending: State | None = None
    beginning: State | None = None


def ride(
    member: Member, stage: str, states: Riding, request: bytes, take: Take
) -> tuple[Riding, bytes]:
    """Take both halves of a joined request; each is answered, refused or left out by itself.

    Args:
        member: this site.
        stage: one of JOINED.
        states: of both rounds.
        request: a Pair.
        take: answers one half.

    Returns:
        the next states, and a Pair. After SHARE there is one state only: of the round that
        begins, or, where it has no keys of this site, of the one that ends.

    Raises:
        PeerMisbehaved: the request is no Pair.
    """
    pair = decode(Pair, request, COORDINATOR)
    ends, begins = stage.split("+")
    ending, first = _half(member, ends, states.ending, pair.first, take)
    beginning, second = _half(member, begins, states.beginning, pair.second, take)
    after = Riding(ending, beginning)
    if stage == UNMASK_SHARE:
        after = Riding(beginning if isinstance(beginning, Shared) else ending)
    return after, encode(Pair(first, second))


def _half(
    member: Member, stage: str, state: State | None, request: bytes, take: Take
) -> tuple[State | None, bytes]:
    """Return the next state and the reply of one half; the old state and a refusal if it raised."""
    if not request:
        return state, NOTHING
    try:
        return take(stage, state, request)
    except TacitError as error:
        return state, refuse(member, error)
