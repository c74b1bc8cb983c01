"""Keys of the next round, made while this one ends: ADVERTISE rides on CONFIRM, SHARE on UNMASK.

A steady round then costs three trips instead of five. The model of the next round is not
known when its keys are made, so its context leaves the model's hash out; MASK brings it,
and every mask and signature from there on binds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from common.errors import TacitError
from common.secagg.checks import COORDINATOR
from common.secagg.messages import Pair, decode, encode
from common.secagg.progress import Replies, Requests
from common.secagg.roster import Member
from common.secagg.site import Given, advance, refuse
from common.secagg.states import State

NOTHING = b""


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
    member: Member, stages: tuple[str, str], states: Riding, request: bytes, given: Given
) -> tuple[Riding, bytes]:
    """Take both halves of a joined request; each is answered, refused or left out by itself.

    Args:
        member: this site.
        stages: ("confirm", "advertise") or ("unmask", "share").
        states: of both rounds.
        request: a Pair.
        given: what the caller brings.

    Raises:
        PeerMisbehaved: the request is no Pair.
    """
    pair = decode(Pair, request, COORDINATOR)
    ending, first = _half(member, stages[0], states.ending, pair.first, given)
    beginning, second = _half(member, stages[1], states.beginning, pair.second, given)
    return Riding(ending, beginning), encode(Pair(first, second))


def _half(
    member: Member, stage: str, state: State | None, request: bytes, given: Given
) -> tuple[State | None, bytes]:
    """Return the next state and the reply of one half; the old state and a refusal if it raised."""
    if not request:
        return state, NOTHING
    try:
        return advance(member, stage, state, request, given)
    except TacitError as error:
        return state, refuse(member, error)


def turned(states: Mapping[str, Riding]) -> dict[str, Riding]:
    """Return every site's states as the next round begins: what began is what will end."""
    return {site: Riding(ending=one.beginning) for site, one in states.items()}
