"""A whole round in one plain function: what docs/protocol.md draws.

`exchange` carries one stage's requests to the sites and brings their replies back; a site
that is absent from the replies dropped out. `Sites` is such an exchange with every site in
this process, for simulations and tests.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from common.errors import TacitError
from common.secagg import coordinator as co
from common.secagg.masks import Words
from common.secagg.messages import MaskRequest, decode
from common.secagg.progress import Adverted, Keyed, Opened, Outcome, Requests, Unmasking
from common.secagg.riding import Riding, join, part, ride, turned
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


def key(policy: Policy, context: Context, exchange: Exchange) -> Keyed:
    """ADVERTISE and SHARE: make the keys of every step of a context."""
    opened, requests = co.open_round(policy, context, tuple(policy.roster))
    adverted, requests = co.advertised(opened, exchange("advertise", requests))
    return co.shared(adverted, exchange("share", requests))


def sum_up(keyed: Keyed, step: int, model_hash: bytes, exchange: Exchange) -> Outcome:
    """MASK, CONFIRM and UNMASK: one sum with the keys of one step."""
    masking, requests = co.masking(keyed, step, model_hash)
    confirming, requests = co.masked(masking, exchange("mask", requests))
    unmasking, requests = co.confirmed(confirming, exchange("confirm", requests))
    return co.unmasked(unmasking, exchange("unmask", requests))


def play_steady(
    policy: Policy, contexts: Sequence[Context], exchange: Exchange
) -> Iterator[Outcome]:
    """Play rounds at three trips each: the next round's keys ride on CONFIRM and UNMASK.

    Args:
        policy: pinned at every site.
        contexts: of the rounds, in order; their model hashes are used from MASK on.
        exchange: also takes "confirm+advertise" and "unmask+share" with joined requests.
    """
    keyed = key(policy, replace(contexts[0], model_hash=b""), exchange)
    for context, following in zip(contexts, [*contexts[1:], None], strict=True):
        if following is None:
            yield sum_up(keyed, 0, context.model_hash, exchange)
            return
        masking, requests = co.masking(keyed, 0, context.model_hash)
        confirming, requests = co.masked(masking, exchange("mask", requests))
        opened, begin = co.open_round(
            policy, replace(following, model_hash=b""), tuple(policy.roster)
        )
        ends, begins = part(exchange("confirm+advertise", join(requests, begin)))
        unmasking, requests = co.confirmed(confirming, ends)
        outcome, keyed = _unmask_and_share(unmasking, requests, opened, begins, exchange)
        yield outcome


def _unmask_and_share(
    unmasking: Unmasking,
    requests: Requests,
    opened: Opened,
    begins: Requests,
    exchange: Exchange,
) -> tuple[Outcome, Keyed]:
    """Return the sum of the round that ends, and the keys of the one that begins."""
    adverted: Adverted
    adverted, share = co.advertised(opened, begins)
    ends, begins = part(exchange("unmask+share", join(requests, share)))
    return co.unmasked(unmasking, ends), co.shared(adverted, begins)


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
            given = self._given(site, stage, state, request)
            self.states[site], reply = advance(member, stage, state, request, given)
        except TacitError as error:
            return refuse(member, error)
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
        first, second = stage.split("+")
        replies = {}
        for site, request in requests.items():
            before = self.riding.get(site, Riding(self.states.get(site)))
            given = self._given(site, first, None, request)
            after, replies[site] = ride(self.members[site], (first, second), before, request, given)
            self.riding[site] = after
        if first == "unmask":
            for site, one in turned(self.riding).items():
                if one.ending is not None:
                    self.states[site] = one.ending
            self.riding = {}
        return replies
