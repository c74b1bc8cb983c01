"""A whole round in one plain function: what docs/protocol.md draws.

`exchange` carries one stage's requests to the sites and brings their replies back; a site
that is absent from the replies dropped out. `Sites` is such an exchange with every site in
this process, for simulations and tests.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from common.errors import TacitError, TooFewSites
from common.secagg import coordinator as co
from common.secagg.masks import Words
from common.secagg.messages import MaskRequest, decode
from common.secagg.progress import (
    Follows,
    Keyed,
    Opened,
    Outcome,
    Requests,
    Unmasking,
    anything,
)
from common.secagg.riding import CONFIRM_ADVERTISE, UNMASK_SHARE, Riding, join, part, ride
from common.secagg.roster import Context, Member, Policy
from common.secagg.site import Given, advance, refuse
from common.secagg.states import State

Exchange = Callable[[str, Requests], Requests]


def play(policy: Policy, context: Context, exchange: Exchange) -> Outcome:
    """Play one round of SA1: five trips, from ADVERTISE to the sum.

    Args:
        policy: pinned at every site.
        context: of this attempt, the model's hash included.
        exchange: (stage, {site: request}) -> {site: reply}.

    Raises:
        TooFewSites: too few are left.
        PeerMisbehaved, ProtocolError: see coordinator.unmasked.
    """
    keyed = key(policy, context, exchange)
    return sum_up(keyed, 0, context.model_hash, exchange)


def key(policy: Policy, context: Context, exchange: Exchange, follows: Follows = anything) -> Keyed:
    """ADVERTISE and SHARE: make the keys of every step of a context."""
    opened, requests = co.open_round(policy, context, tuple(policy.roster), follows)
    adverted, requests = co.advertised(opened, exchange("advertise", requests))
    return co.shared(adverted, exchange("share", requests))


def sum_up(
    keyed: Keyed, step: int, model_hash: bytes, exchange: Exchange, follows: Follows = anything
) -> Outcome:
    """MASK, CONFIRM and UNMASK: one sum with the keys of one step."""
    masking, requests = co.masking(keyed, step, model_hash)
    confirming, requests = co.masked(masking, exchange("mask", requests), follows)
    unmasking, requests = co.confirmed(confirming, exchange("confirm", requests))
    return co.unmasked(unmasking, exchange("unmask", requests))


def sum_up_and_key(
    keyed: Keyed,
    step: int,
    model_hash: bytes,
    following: Context,
    exchange: Exchange,
    follows: Follows = anything,
) -> tuple[Outcome, Keyed | None]:
    """MASK, CONFIRM + ADVERTISE, UNMASK + SHARE: one sum, and the keys of what follows.

    Args:
        keyed: the keys that this sum is the last of.
        step: of these keys.
        model_hash: of the model that the sum starts from.
        following: what the next keys are for; its model hash is empty.
        exchange: also takes the two joined stages.
        follows: whether a site's note is taken, see coordinator.open_round and masked.

    Returns:
        the sum; and the keys, or None where too few sites made them: then key by itself,
        with `following.retry()`.
    """
    policy = keyed.keying.policy
    masking, requests = co.masking(keyed, step, model_hash)
    confirming, requests = co.masked(masking, exchange("mask", requests), follows)
    opened, begin = co.open_round(policy, following, tuple(policy.roster), follows)
    ends, begins = part(exchange(CONFIRM_ADVERTISE, join(requests, begin)))
    unmasking, requests = co.confirmed(confirming, ends)
    return _unmask_and_share(unmasking, requests, opened, begins, exchange)


def _unmask_and_share(
    unmasking: Unmasking,
    requests: Requests,
    opened: Opened,
    begins: Requests,
    exchange: Exchange,
) -> tuple[Outcome, Keyed | None]:
    """Return the sum of the round that ends, and the keys of the one that begins, if there are."""
    try:
        adverted, share = co.advertised(opened, begins)
    except TooFewSites:
        return co.unmasked(unmasking, exchange("unmask", requests)), None
    ends, begins = part(exchange(UNMASK_SHARE, join(requests, share)))
    outcome = co.unmasked(unmasking, ends)
    try:
        return outcome, co.shared(adverted, begins)
    except TooFewSites:
        return outcome, None


def play_steady(
    policy: Policy, contexts: Sequence[Context], exchange: Exchange
) -> Iterator[Outcome]:
    """Play rounds at three trips each: the next round's keys ride on CONFIRM and UNMASK.

    Args:
        policy: pinned at every site.
        contexts: of the rounds, in order; their model hashes are used from MASK on.
        exchange: also takes the joined stages.
    """
    keyed: Keyed | None = None
    first = replace(contexts[0], model_hash=b"")
    for context, following in zip(contexts, [*contexts[1:], None], strict=True):
        keyed = keyed or key(policy, first, exchange)
        if following is None:
            yield sum_up(keyed, 0, context.model_hash, exchange)
            return
        after = replace(following, model_hash=b"")
        outcome, keyed = sum_up_and_key(keyed, 0, context.model_hash, after, exchange)
        first = after.retry()
        yield outcome


@dataclass
class Sites:
    """All sites of a simulation in one place; calling it is an Exchange.

    Args:
        members: {site: Member}.
        vectors: {site: encoded words} that the sites mask.
        entropy: {site: source of random bytes}.
        context: what the sites know of the round: their own hashes.
        absent: {stage: sites that do not reply from that stage on}.
        models: {round: hash of its model}, where it is not the context's.
    """

    members: Mapping[str, Member]
    vectors: Mapping[str, Words]
    entropy: Mapping[str, Callable[[int], bytes]]
    context: Context
    absent: Mapping[str, frozenset[str]] = field(default_factory=dict)
    models: Mapping[int, bytes] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    riding: dict[str, Riding] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def __call__(self, stage: str, requests: Requests) -> Requests:
        """Return the replies of all sites that are still there."""
        self.gone |= self.absent.get(stage, frozenset())
        there = {site: raw for site, raw in requests.items() if site not in self.gone}
        if "+" in stage:
            return self._ride(stage, there)
        return {site: self.reply(stage, site, request) for site, request in there.items()}

    def reply(self, stage: str, site: str, request: bytes) -> bytes:
        """Return one site's reply, or its refusal."""
        member, state = self.members[site], self.states.get(site)
        try:
            self.states[site], reply = self._take(site, stage, state, request)
        except TacitError as error:
            return refuse(member, error)
        self.riding.pop(site, None)
        return reply

    def _given(self, site: str, stage: str, state: State | None, request: bytes) -> Given:
        """Return what a site brings to a stage; in MASK, the model that it was really sent."""
        model = self.context.model_hash
        if stage == "mask" and state is not None and self.models:
            step = decode(MaskRequest, request, "coordinator").step
            model = self.models.get(state.context.round + step, model)
        return Given(self.entropy[site], self.context.config_hash, model, self.vectors[site])

    def _ride(self, stage: str, requests: Requests) -> Requests:
        """Return the replies to a joined stage; after UNMASK what began is what goes on."""
        replies = {}
        for site, request in requests.items():
            member, take = self.members[site], partial(self._take, site)
            before = replace(self.riding.get(site, Riding()), ending=self.states.get(site))
            try:
                after, replies[site] = ride(member, stage, before, request, take)
            except TacitError as error:
                after, replies[site] = before, refuse(member, error)
            self.riding[site] = after
            if after.ending is not None:
                self.states[site] = after.ending
        return replies

    def _take(
        self, site: str, stage: str, state: State | None, request: bytes
    ) -> tuple[State, bytes]:
        given = self._given(site, stage, state, request)
        return advance(self.members[site], stage, state, request, given)
