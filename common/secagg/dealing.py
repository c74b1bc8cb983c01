"""What a site deals to its neighbours in SHARE, and how it opens what they dealt to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.errors import PeerMisbehaved, ProtocolError
from common.secagg import checks, shamir, transcript
from common.secagg.channel import KeyPair, open_sealed, public_key, seal
from common.secagg.messages import Advert, Commitments, Dealt, Item, MaskRequest, Share, Sharer
from common.secagg.roster import Member, Policy
from common.secagg.states import Advertised, HeldShares, Keyed, Shared, StepKeying

Entropy = Callable[[int], bytes]
NO_PAIR = bytes(32)


@dataclass(frozen=True)
class Deal:
    """What binds everything one dealer gives one holder."""

    keying: bytes
    r0: bytes
    dealer: str
    holder: str

    def commit(self, step: int, b: bytes, s: bytes, pair: bytes) -> Commitments:
        """Return the commitments of one step; `pair` is NO_PAIR unless the dealer is lower."""
        args = (self.keying, self.r0, self.dealer, self.holder, step)
        return Commitments(
            transcript.commitment("b", *args, b),
            transcript.commitment("s", *args, s),
            transcript.commitment("pair", *args, pair),
        )


def deal(
    policy: Policy, state: Advertised, adverts: Sequence[Advert], r0: bytes, entropy: Entropy
) -> tuple[tuple[Item, ...], tuple[HeldShares, ...]]:
    """Return an item for each neighbour that advertised, and the dealer's own shares by step.

    Raises:
        PeerMisbehaved: a peer advertised a key that is none.
        TooFewSites: fewer neighbours advertised than shares recover a secret.
    """
    me = state.advert.site
    by_name = {advert.site: advert for advert in adverts}
    around = policy.graph.around(me, by_name.keys())
    threshold = policy.graph.threshold(len(by_name))
    checks.enough("SHARE, neighbours", len(around), threshold)
    xs = [policy.roster.x(name) for name in around]
    dealt = [
        tuple(
            [
                shamir.to_bytes(one)
                for one in shamir.split(shamir.to_scalar(secret), threshold, xs, entropy)
            ]
            for secret in (step.b, step.s)
        )
        for step in state.secrets
    ]
    items: list[Item] = []
    own: tuple[HeldShares, ...] = ()
    for i, name in enumerate(around):
        shares = tuple(HeldShares(me, b[i], s[i]) for b, s in dealt)
        own = shares if name == me else own
        to = Deal(state.context.keying, r0, me, name)
        items.append(_item(policy, state, by_name[name], to, shares))
    return tuple(items), own


def _item(
    policy: Policy, state: Advertised, advert: Advert, to: Deal, shares: tuple[HeldShares, ...]
) -> Item:
    """Return the item for one peer; for the dealer itself, its commitments only."""
    pairs = [
        transcript.pair_key(step.s, to.keying, to.r0, to.dealer, to.holder, i)
        if to.dealer < to.holder
        else NO_PAIR
        for i, step in enumerate(state.secrets)
    ]
    commitments = tuple(
        to.commit(i, one.b, one.s, pair)
        for i, (one, pair) in enumerate(zip(shares, pairs, strict=True))
    )
    if to.dealer == to.holder:
        return Item(to.holder, b"", (), commitments)
    try:
        return Item(to.holder, *_sealed(policy, advert, to, shares, pairs), commitments)
    except ProtocolError as error:
        raise PeerMisbehaved(to.holder, f"advertised a key that is none: {error}") from error


def _sealed(
    policy: Policy,
    advert: Advert,
    to: Deal,
    shares: tuple[HeldShares, ...],
    pairs: Sequence[bytes],
) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the sealed shares of all steps, and a sealed pair key a step if any is due."""
    suite, args = policy.keys, (to.keying, to.r0, to.dealer, to.holder)
    plain = b"".join(one.b + one.s for one in shares)
    channel = public_key(suite, advert.channel_key)
    sealed = seal(suite, channel, transcript.shares_info(*args), plain)
    if to.dealer > to.holder:
        return sealed, ()
    return sealed, tuple(
        seal(suite, public_key(suite, keys.mask_key), transcript.pair_info(*args, i), pair)
        for i, (keys, pair) in enumerate(zip(advert.steps, pairs, strict=True))
    )


def open_dealings(member: Member, state: Shared, message: MaskRequest) -> Keyed:
    """Check and open what the neighbours dealt; the first half of MASK.

    Raises:
        PeerMisbehaved: an item that does not open or match its commitment (the dealer), a
            list that was altered (the coordinator).
        TooFewSites: fewer sharers than the threshold or the policy asks.
    """
    me, policy, keying = member.name, member.policy, state.context.keying
    listed = {sharer.site: sharer.dealing_hash for sharer in message.sharers}
    checks.attempt_is_mine(message.keying, keying)
    checks.names_are_sorted("MASK", [sharer.site for sharer in message.sharers])
    checks.within("MASK", listed, state.cohort)
    checks.own_dealing_is_listed(message.sharers, Sharer(me, state.dealing_hash))
    checks.enough("MASK", len(listed), policy.quorum(len(state.cohort)))
    neighbours = policy.graph.around(me, listed.keys())
    checks.enough("MASK, neighbours", len(neighbours), policy.graph.threshold(len(state.cohort)))
    checks.dealers_are_complete(message.dealt, set(neighbours) - {me})
    for dealt in message.dealt:
        hashed = transcript.dealing_hash(keying, state.r0, dealt.site, dealt.item_hashes)
        checks.item_is_for(dealt, me)
        checks.dealing_is_the_listed(dealt, hashed, listed)
        checks.item_is_signed(dealt, hashed, policy.roster)
    steps = open_dealt(policy, me, state, message.dealt)
    return Keyed(state.context, state.r0, state.cohort, message.sharers, 0, steps, state.notes)


def open_dealt(
    policy: Policy, me: str, state: Shared, dealt: Sequence[Dealt]
) -> tuple[StepKeying, ...]:
    """Return, by step, the keys and shares that all dealers gave this site.

    Raises:
        PeerMisbehaved: naming the dealer whose item does not open or match.
    """
    keying, suite = state.context.keying, policy.keys
    channel = transcript.channel_keys(suite, keying, me, state.channel_secret)
    mask_keys = [
        transcript.mask_keys(suite, keying, me, i, step.s) for i, step in enumerate(state.secrets)
    ]
    pairs: list[list[Share]] = [[] for _ in state.secrets]
    held: list[list[HeldShares]] = [[own] for own in state.own]
    for one in dealt:
        to = Deal(keying, state.r0, one.site, me)
        shares, keys = _open(policy, to, one.item, channel, mask_keys)
        for i, step in enumerate(state.secrets):
            mine = transcript.pair_key(step.s, keying, state.r0, me, one.site, i)
            pairs[i].append(Share(one.site, keys[i] if one.site < me else mine))
            held[i].append(shares[i])
    return tuple(
        StepKeying(step.b, tuple(pairs[i]), tuple(sorted(held[i], key=lambda h: h.site)))
        for i, step in enumerate(state.secrets)
    )


def _open(
    policy: Policy, to: Deal, item: Item, channel: KeyPair, mask_keys: Sequence[KeyPair]
) -> tuple[list[HeldShares], list[bytes]]:
    """Return the shares and pair keys of one item, by step, compared with the commitments."""
    args, steps = (to.keying, to.r0, to.dealer, to.holder), len(mask_keys)
    pairs = [NO_PAIR] * steps
    try:
        info = transcript.shares_info(*args)
        plain = open_sealed(policy.keys, channel.private, info, item.sealed_shares)
        if to.dealer < to.holder:
            pairs = open_pairs(policy, to, item, mask_keys)
        if (len(plain), len(item.commitments)) != (64 * steps, steps):
            raise ProtocolError(f"expected shares and commitments of {steps} steps")
    except ProtocolError as error:
        raise PeerMisbehaved(to.dealer, f"dealt what cannot be used: {error}") from error
    raw = [plain[i : i + 32] for i in range(0, len(plain), 32)]
    shares = [HeldShares(to.dealer, raw[2 * i], raw[2 * i + 1]) for i in range(steps)]
    for i, (one, pair) in enumerate(zip(shares, pairs, strict=True)):
        checks.opened_matches(to.dealer, to.commit(i, one.b, one.s, pair), item.commitments[i])
    return shares, pairs


def open_pairs(
    policy: Policy, to: Deal, item: Item, mask_keys: Sequence[KeyPair], first: int = 0
) -> list[bytes]:
    """Return the pair keys of an item for these mask keys, of steps from `first` on.

    Raises:
        ProtocolError: one is missing, does not open, or is not of 32 bytes.
    """
    args = (to.keying, to.r0, to.dealer, to.holder)
    if len(item.sealed_pairs) < first + len(mask_keys):
        raise ProtocolError("expected a sealed pair key for each step")
    keys = [
        open_sealed(policy.keys, key.private, transcript.pair_info(*args, i), item.sealed_pairs[i])
        for i, key in enumerate(mask_keys, start=first)
    ]
    if any(len(key) != 32 for key in keys):
        raise ProtocolError("expected pair keys of 32 bytes")
    return keys
