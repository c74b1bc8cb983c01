"""How the coordinator opens a sum: shares to secrets, secrets to masks, masks off."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from common.errors import PeerMisbehaved, ProtocolError, TooFewSites
from common.secagg import masks, shamir, transcript
from common.secagg.dealing import NO_PAIR, Deal, open_pairs
from common.secagg.derive import digest_between
from common.secagg.masks import Words
from common.secagg.memory import empty
from common.secagg.messages import Advert, Dealing, Item, Reveal, Share, Sharer, Upload
from common.secagg.roster import Context, Policy


@dataclass(frozen=True)
class Keying:
    """What the coordinator keeps of ADVERTISE and SHARE."""

    policy: Policy
    context: Context
    adverts: Mapping[str, Advert]
    r0: bytes
    dealings: Mapping[str, Dealing]

    @cached_property
    def sharers(self) -> tuple[str, ...]:
        """U1, ascending."""
        return tuple(sorted(self.dealings))

    @property
    def quorum(self) -> int:
        """The fewest sites that may remain: max(floor(2n/3) + 1, min_sites)."""
        return self.policy.quorum(len(self.adverts))

    @cached_property
    def _hashes(self) -> dict[str, tuple[bytes, ...]]:
        return {
            site: tuple(transcript.item_hash(item) for item in dealing.items)
            for site, dealing in self.dealings.items()
        }

    @cached_property
    def _items(self) -> dict[str, dict[str, Item]]:
        return {
            site: {item.site: item for item in dealing.items}
            for site, dealing in self.dealings.items()
        }

    def item_hashes(self, dealer: str) -> tuple[bytes, ...]:
        """Return the hashes of all items of a dealer."""
        return self._hashes[dealer]

    def item(self, dealer: str, holder: str) -> Item:
        """Return what a dealer dealt to a holder."""
        return self._items[dealer][holder]

    def dealing_hash(self, dealer: str) -> bytes:
        """Return the hash that the dealer signed."""
        return transcript.dealing_hash(
            self.context.keying, self.r0, dealer, self.item_hashes(dealer)
        )

    def deal(self, dealer: str, holder: str) -> Deal:
        """Return what binds a dealer's item to its holder."""
        return Deal(self.context.keying, self.r0, dealer, holder)


@dataclass(frozen=True)
class Step:
    """One keyed step in progress: its number, its ctx and who shared."""

    keying: Keying
    number: int
    ctx: bytes
    sharer_list: tuple[Sharer, ...]

    @cached_property
    def r1(self) -> bytes:
        """R1 of the step."""
        return transcript.r1(self.ctx, self.keying.r0, self.sharer_list)

    @property
    def words(self) -> int:
        """Words of a vector, without the check word."""
        return self.keying.policy.layouts[self.keying.context.task].words


class SumSpoiled(ProtocolError):
    """The check word of a sum does not fit: abort the round."""


Points = dict[str, dict[int, int]]


@dataclass(frozen=True)
class Shares:
    """Revealed shares that match their commitments, and those that do not.

    Args:
        b: {site: {x: share of its b}}.
        s: {site: {x: share of its s}}.
        wrong: (sender, reason) of each share that does not match.
    """

    b: Points = field(repr=False)
    s: Points = field(repr=False)
    wrong: tuple[tuple[str, str], ...]


def check_reveal(step: Step, site: str, reveal: Reveal, contributors: Sequence[str]) -> None:
    """Raise PeerMisbehaved unless a site revealed what it was asked for, and signed it."""
    parts = transcript.reveal_parts(step.ctx, reveal.b_shares, reveal.s_shares)
    if not step.keying.policy.roster.signed(site, reveal.signature, "reveal", *parts):
        raise PeerMisbehaved(site, "its shares are not signed over this attempt")
    around = step.keying.policy.graph.around(site, set(step.keying.sharers))
    done = set(contributors)
    if [one.site for one in reveal.b_shares] != [name for name in around if name in done]:
        raise PeerMisbehaved(site, "expected one share of b of each contributor")
    if [one.site for one in reveal.s_shares] != [name for name in around if name not in done]:
        raise PeerMisbehaved(site, "expected one share of s of each missing site")


def sift_shares(step: Step, reveals: Mapping[str, Reveal]) -> Shares:
    """Return the shares that were revealed, those that break their commitment apart."""
    b, wrong_b = good_shares(step, "b", {site: r.b_shares for site, r in reveals.items()})
    s, wrong_s = good_shares(step, "s", {site: r.s_shares for site, r in reveals.items()})
    return Shares(b, s, tuple(wrong_b + wrong_s))


def open_sum(step: Step, uploads: Sequence[Upload], shares: Shares) -> Words:
    """Return the sum of the masked vectors with every mask taken off.

    Raises:
        TooFewSites: fewer than t good shares of a secret that is needed.
        PeerMisbehaved: naming the site whose dealing was wrong.
        SumSpoiled: the check word shows that a mask was left on or a vector changed.
    """
    contributors = tuple(upload.uploaded.site for upload in uploads)
    vectors = [np.frombuffer(upload.vector, "<u8") for upload in uploads]
    applied = masks.Masks(*masks_left(step, contributors, shares))
    check = masks.Checksum(transcript.check_key(step.ctx))
    words_W = empty(step.words + 1, np.uint64, keep=True)
    masks.add_up(vectors, words_W)
    for segment, start, sum_N in masks.segments(words_W):
        applied.apply(segment, sum_N)
        check.add(segment, sum_N[: step.words - start])
    if int(words_W[-1]) != transcript.check_word(step.ctx, check.total, len(contributors)):
        raise SumSpoiled("the sum does not open: a contributor masked otherwise than it dealt")
    return words_W[:-1]


def masks_left(
    step: Step, contributors: Sequence[str], shares: Shares
) -> tuple[list[bytes], list[bytes]]:
    """Return the keys of the masks to add and to subtract: G(b) of all, G(k) with the missing."""
    plus: list[bytes] = []
    minus = [
        transcript.self_mask(
            recover_b(step, site, shares.b.get(site, {})), step.ctx, step.keying.r0, site
        )
        for site in contributors
    ]
    for site in sorted(set(step.keying.sharers) - set(contributors)):
        s = recover_s(step, site, shares.s.get(site, {}))
        for peer, key in pairs_of_missing(step, site, s, contributors):
            (minus if site < peer else plus).append(key)
    return plus, minus


def good_shares(
    step: Step, kind: str, revealed: Mapping[str, Iterable[Share]]
) -> tuple[Points, list[tuple[str, str]]]:
    """Return {dealer: {x: share}} of the shares that match their commitments, and the others.

    The others are (sender, reason): the sender accepted the share in MASK as matching, so
    it is the one that changed it.
    """
    good: Points = {}
    wrong: list[tuple[str, str]] = []
    keying, bound = step.keying, step.keying.context.keying
    starts = {
        dealer: transcript.commitment_start(kind, bound, keying.r0, dealer)
        for dealer in keying.sharers
    }
    for holder, shares in revealed.items():
        x, end = keying.policy.roster.x(holder), transcript.commitment_end(holder, step.number)
        for one in shares:
            committed = getattr(keying.item(one.site, holder).commitments[step.number], kind)
            if digest_between(starts[one.site], end, one.share) != committed:
                wrong.append((holder, f"revealed a wrong share of {kind} of {one.site!r}"))
                continue
            good.setdefault(one.site, {})[x] = int.from_bytes(one.share, "big")
    return good, wrong


def _recover(step: Step, kind: str, site: str, points: Mapping[int, int]) -> bytes:
    """Return a secret from the first t of its good shares."""
    threshold = step.keying.policy.graph.threshold(len(step.keying.adverts))
    if len(points) < threshold:
        raise TooFewSites(
            f"UNMASK: {threshold} good shares of {kind} of {site!r} are needed, {len(points)} came"
        )
    return shamir.to_bytes(shamir.recover(dict(sorted(points.items())[:threshold])))


def recover_b(step: Step, site: str, points: Mapping[int, int]) -> bytes:
    """Return b of a contributor, compared with the H(b) that it advertised."""
    b = _recover(step, "b", site, points)
    hashed = transcript.b_hash(step.keying.context.keying, site, step.number, b)
    if hashed != step.keying.adverts[site].steps[step.number].b_hash:
        raise PeerMisbehaved(site, "dealt shares of another b than it committed to")
    return b


def recover_s(step: Step, site: str, points: Mapping[int, int]) -> bytes:
    """Return s of a missing site, compared with the mask key that it advertised."""
    s, keying = _recover(step, "s", site, points), step.keying
    pair = transcript.mask_keys(keying.policy.keys, keying.context.keying, site, step.number, s)
    if pair.public != keying.adverts[site].steps[step.number].mask_key:
        raise PeerMisbehaved(site, "dealt shares of another s than its mask key stands for")
    return s


def pairs_of_missing(
    step: Step, site: str, s: bytes, contributors: Sequence[str]
) -> list[tuple[str, bytes]]:
    """Return (peer, mask key of the pair) for each contributor that masked with a missing site."""
    keying = step.keying
    around = set(keying.policy.graph.around(site, set(contributors)))
    peers = [peer for peer in contributors if peer in around]
    return [
        (
            peer,
            transcript.pair_mask(_pair_key(step, site, peer, s), step.ctx, keying.r0, site, peer),
        )
        for peer in peers
    ]


def _pair_key(step: Step, site: str, peer: str, s: bytes) -> bytes:
    """Return k_uv from the missing end, compared with what the lower site committed to."""
    keying, number = step.keying, step.number
    if site < peer:
        key = transcript.pair_key(s, keying.context.keying, keying.r0, site, peer, number)
    else:
        key = _opened_pair(step, site, peer, s)
    low, high = min(site, peer), max(site, peer)
    to = keying.deal(low, high)
    if (
        to.commit(number, NO_PAIR, NO_PAIR, key).pair
        != keying.item(low, high).commitments[number].pair
    ):
        raise PeerMisbehaved(low, f"dealt {high!r} another pair key than it committed to")
    return key


def _opened_pair(step: Step, site: str, peer: str, s: bytes) -> bytes:
    """Return the pair key that a lower contributor sealed to the missing site."""
    keying = step.keying
    mask_keys = transcript.mask_keys(
        keying.policy.keys, keying.context.keying, site, step.number, s
    )
    item = keying.item(peer, site)
    try:
        deal = keying.deal(peer, site)
        return open_pairs(keying.policy, deal, item, [mask_keys], step.number)[0]
    except ProtocolError as error:
        raise PeerMisbehaved(peer, f"dealt {site!r} what cannot be used: {error}") from error
