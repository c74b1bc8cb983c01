"""A whole round in one plain function: what docs/protocol.md draws, for simulations and tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from common.errors import TacitError
from common.secagg import coordinator as co
from common.secagg.masks import Words
from common.secagg.progress import Outcome
from common.secagg.roster import Context, Member, Policy
from common.secagg.site import Given, advance, refuse
from common.secagg.states import State

Exchange = Callable[[str, dict[str, bytes]], dict[str, bytes]]


@dataclass
class Sites:
    """All sites of a simulation in one place; calling it is an Exchange.

    Args:
        members: {site: Member}.
        vectors: {site: encoded words} that the sites mask.
        entropy: {site: source of random bytes}.
        context: what the sites were told the round is about (their hashes of it).
        absent: {stage: sites that do not reply from that stage on}.
    """

    members: Mapping[str, Member]
    vectors: Mapping[str, Words]
    entropy: Mapping[str, Callable[[int], bytes]]
    context: Context
    absent: Mapping[str, frozenset[str]] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def __call__(self, stage: str, requests: dict[str, bytes]) -> dict[str, bytes]:
        """Return the replies of all sites that are still there."""
        self.gone |= self.absent.get(stage, frozenset())
        return {
            site: self.reply(stage, site, request)
            for site, request in requests.items()
            if site not in self.gone
        }

    def reply(self, stage: str, site: str, request: bytes) -> bytes:
        """Return one site's reply, or its refusal."""
        member = self.members[site]
        given = Given(
            self.entropy[site],
            self.context.config_hash,
            self.context.model_hash,
            self.vectors[site],
        )
        try:
            state, reply = advance(member, stage, self.states.get(site), request, given)
        except TacitError as error:
            return refuse(member, error)
        self.states[site] = state
        return reply


def play(policy: Policy, context: Context, exchange: Exchange) -> Outcome:
    """Play one round of SA1 through an exchange, from ADVERTISE to the sum.

    Args:
        policy: pinned at every site.
        context: of this attempt, the model's hash included.
        exchange: (stage, {site: request}) -> {site: reply}; an absent site dropped out.

    Raises:
        TooFewSites: too few are left; PeerMisbehaved, ProtocolError: see coordinator.unmasked.
    """
    opened, requests = co.open_round(policy, context, tuple(policy.roster))
    adverted, requests = co.advertised(opened, exchange("advertise", requests))
    keyed = co.shared(adverted, exchange("share", requests))
    masking, requests = co.masking(keyed)
    confirming, requests = co.masked(masking, exchange("mask", requests))
    unmasking, requests = co.confirmed(confirming, exchange("confirm", requests))
    return co.unmasked(unmasking, exchange("unmask", requests))
