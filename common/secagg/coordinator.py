"""The coordinator's side of SA1: one pure function a stage, over {site: reply}.

An absent site is a drop-out. A stage drops every site whose reply is wrong and says so in
`blamed`; it raises TooFewSites when those that are left cannot finish the round. The
coordinator is not trusted by the sites: what it checks here serves blame and liveness.
"""

from collections.abc import Collection, Mapping, Sequence

from common.errors import PeerMisbehaved, ProtocolError, TooFewSites
from common.secagg import transcript
from common.secagg.channel import public_key, seal
from common.secagg.messages import (
    Advert,
    AdvertiseRequest,
    Confirmation,
    ConfirmRequest,
    Dealing,
    Dealt,
    Item,
    MaskRequest,
    Reveal,
    Sharer,
    ShareRequest,
    UnmaskRequest,
    Upload,
    encode,
)
from common.secagg.progress import (
    Adverted,
    Blame,
    Confirming,
    Follows,
    Keyed,
    Masking,
    Opened,
    Outcome,
    Replies,
    Requests,
    Signed,
    Unmasking,
    anything,
    because,
    enough,
    sift,
)
from common.secagg.recovery import Keying, Step, SumSpoiled, check_reveal, open_sum, sift_shares
from common.secagg.roster import Context, Policy


def open_round(
    policy: Policy, context: Context, cohort: Collection[str], follows: Follows = anything
) -> tuple[Opened, Requests]:
    """Return the ADVERTISE requests to a cohort.

    Args:
        policy: pinned at every site.
        context: of this attempt.
        cohort: who is asked.
        follows: whether a site's note is taken; who shows another is dropped.

    Raises:
        TooFewSites: fewer sites than the policy asks, or one that the roster does not hold.
    """
    invited = tuple(sorted(cohort))
    strangers = sorted(set(invited) - set(policy.roster))
    if strangers:
        raise ProtocolError(f"{strangers[0]!r} is not in the roster")
    enough("ADVERTISE", invited, policy.min_sites, ())
    request = encode(AdvertiseRequest(context))
    return Opened(policy, context, invited, follows), dict.fromkeys(invited, request)


def advertised(state: Opened, replies: Replies) -> tuple[Adverted, Requests]:
    """Take the adverts and return the SHARE requests: U0 to each of U0.

    Raises:
        TooFewSites: fewer valid adverts than the policy asks.
    """
    policy, keying = state.policy, state.context.keying
    adverts, blamed = sift(
        Advert, replies, state.invited, lambda site, advert: _check_advert(state, site, advert)
    )
    for twice in _sharing_keys(adverts):
        del adverts[twice]
        blamed += (Blame(twice, "advertised a key that another site advertised too"),)
    enough("ADVERTISE", adverts, policy.min_sites, blamed)
    ordered = tuple(adverts[name] for name in sorted(adverts))
    request = encode(ShareRequest(keying, ordered))
    r0 = transcript.r0(keying, ordered)
    return Adverted(policy, state.context, adverts, r0, blamed), dict.fromkeys(adverts, request)


def _check_advert(state: Opened, site: str, advert: Advert) -> None:
    keys, parts = state.policy.keys, transcript.advert_parts(state.context.keying, advert)
    if not state.policy.roster.signed(site, advert.signature, "advert", *parts):
        raise PeerMisbehaved(site, "its advert is not signed over this attempt")
    if len(advert.steps) != state.context.steps:
        raise PeerMisbehaved(site, f"expected keys for {state.context.steps} steps")
    for key in (advert.channel_key, *(step.mask_key for step in advert.steps)):
        seal(keys, public_key(keys, key), b"", b"")  # refuses a key to which nothing can be sealed
    why = state.follows(site, advert.note)
    if why:
        raise PeerMisbehaved(site, why)


def _sharing_keys(adverts: Mapping[str, Advert]) -> list[str]:
    """Return the sites that advertised a key which stands in another place too."""
    seen: dict[bytes, list[str]] = {}
    for site, advert in adverts.items():
        for key in (advert.channel_key, *(step.mask_key for step in advert.steps)):
            seen.setdefault(key, []).append(site)
    return sorted({site for sites in seen.values() if len(sites) > 1 for site in sites})


def shared(state: Adverted, replies: Replies) -> Keyed:
    """Take the dealings; the attempt is then keyed for all its steps.

    Raises:
        TooFewSites: fewer valid dealings than the threshold or the policy asks.
    """
    dealings, blamed = sift(
        Dealing,
        replies,
        tuple(state.adverts),
        lambda site, dealing: _check_dealing(state, site, dealing),
    )
    blamed = state.blamed + blamed
    keying = Keying(state.policy, state.context, state.adverts, state.r0, dealings)
    enough("SHARE", dealings, keying.quorum, blamed)
    return Keyed(keying, blamed)


def _check_dealing(state: Adverted, site: str, dealing: Dealing) -> None:
    keying, suite = state.context.keying, state.policy.keys
    hashes = [transcript.item_hash(item) for item in dealing.items]
    hashed = transcript.dealing_hash(keying, state.r0, site, hashes)
    if not state.policy.roster.signed(site, dealing.signature, "dealing", hashed):
        raise PeerMisbehaved(site, "its dealing is not signed over this attempt and R0")
    around = state.policy.graph.around(site, state.adverts.keys())
    if tuple(item.site for item in dealing.items) != around:
        raise PeerMisbehaved(site, "expected one item for each neighbour that advertised")
    for item in dealing.items:
        _check_item(site, item, state.context.steps, suite.overhead_bytes)


def _check_item(site: str, item: Item, steps: int, overhead: int) -> None:
    sealed = 0 if item.site == site else 64 * steps + overhead
    pairs = [32 + overhead] * steps if site < item.site else []
    sizes = (len(item.sealed_shares), [len(one) for one in item.sealed_pairs])
    if sizes != (sealed, pairs) or len(item.commitments) != steps:
        raise PeerMisbehaved(site, f"its item for {item.site!r} has the wrong sizes")


def masking(state: Keyed, step: int = 0, model_hash: bytes = b"") -> tuple[Masking, Requests]:
    """Return the MASK requests of one keyed step.

    Args:
        state: after SHARE.
        step: which of the keyed rounds, from 0, each once and in ascending order.
        model_hash: of the model that is used in it; by default the one in the context.
    """
    keying = state.keying
    hash_ = model_hash or keying.context.model_hash
    sharers = tuple(Sharer(site, keying.dealing_hash(site)) for site in keying.sharers)
    requests = {}
    for site in keying.sharers:
        dealt = tuple(_dealt_to(keying, site))
        requests[site] = encode(MaskRequest(keying.context.keying, step, hash_, sharers, dealt))
    at = Step(keying, step, keying.context.digest(step, hash_), sharers)
    return Masking(at, state.blamed), requests


def _dealt_to(keying: Keying, site: str) -> list[Dealt]:
    """Return what each neighbour dealt to one site."""
    around = keying.policy.graph.around(site, keying.dealings.keys())
    return [
        Dealt(
            dealer,
            keying.item(dealer, site),
            keying.item_hashes(dealer),
            keying.dealings[dealer].signature,
        )
        for dealer in around
        if dealer != site
    ]


def masked(
    state: Masking, replies: Replies, follows: Follows = anything
) -> tuple[Confirming, Requests]:
    """Take the masked vectors and return the CONFIRM requests: U2 to each of U2.

    Args:
        state: after MASK was asked.
        replies: uploads, by site.
        follows: whether the note with an upload is taken; who shows another is dropped.

    Raises:
        TooFewSites: fewer valid uploads than the threshold or the policy asks.
    """
    step = state.step
    found, blamed = sift(
        Upload,
        replies,
        step.keying.sharers,
        lambda site, upload: _check_upload(step, site, upload, follows),
    )
    blamed = state.blamed + blamed
    enough("MASK", found, step.keying.quorum, blamed)
    uploads = tuple(found[site] for site in sorted(found))
    request = encode(ConfirmRequest(step.ctx, tuple(upload.uploaded for upload in uploads)))
    return Confirming(step, uploads, blamed), dict.fromkeys(found, request)


def _check_upload(step: Step, site: str, upload: Upload, follows: Follows) -> None:
    """Raise PeerMisbehaved unless an upload has the layout's words, a signed hash, a good note.

    The hash itself is compared only when the sum does not open (`_blame_altered`): hashing
    all vectors would cost more than adding them up.
    """
    one, roster = upload.uploaded, step.keying.policy.roster
    if len(upload.vector) != 8 * (step.words + 1):
        raise PeerMisbehaved(site, f"expected {step.words + 1} words of 64 bits")
    parts = transcript.upload_parts(step.ctx, step.r1, one)
    if one.site != site or not roster.signed(site, one.signature, "upload", *parts):
        raise PeerMisbehaved(site, "its upload is not signed over this attempt, model and R1")
    why = follows(site, one.note)
    if why:
        raise PeerMisbehaved(site, why)


def confirmed(state: Confirming, replies: Replies) -> tuple[Unmasking, Requests]:
    """Take the confirmations and return the UNMASK requests to those that confirmed.

    Raises:
        TooFewSites: fewer valid confirmations than the threshold or the policy asks.
    """
    step = state.step
    uploaded = [upload.uploaded for upload in state.uploads]
    r2 = transcript.r2(step.ctx, step.r1, uploaded)

    def check(site: str, one: Confirmation) -> None:
        roster = step.keying.policy.roster
        if not roster.signed(site, one.signature, "confirm", step.ctx, r2):
            raise PeerMisbehaved(site, "its confirmation is not of the list that it was sent")

    found, blamed = sift(Confirmation, replies, [one.site for one in uploaded], check)
    blamed = state.blamed + blamed
    enough("CONFIRM", found, step.keying.quorum, blamed)
    confirmations = tuple(found[site] for site in sorted(found))
    request = encode(UnmaskRequest(step.ctx, confirmations))
    new = Unmasking(step, state.uploads, confirmations, blamed)
    return new, dict.fromkeys(found, request)


def unmasked(state: Unmasking, replies: Replies) -> Outcome:
    """Take the shares, add the masked vectors up, take the masks off, and return the sum.

    Guarantees: the words are the exact sum of the contributors' vectors mod 2^64; a wrong
    share is left out and its sender blamed.

    Raises:
        TooFewSites: fewer than t good shares of a secret that is needed.
        PeerMisbehaved: naming the site whose dealing was wrong, or whose vector is not what
            it signed.
        SumSpoiled: a contributor masked otherwise than it dealt; which one cannot be told.
    """
    contributors = tuple(upload.uploaded.site for upload in state.uploads)
    step = state.step

    def check(site: str, reveal: Reveal) -> None:
        check_reveal(step, site, reveal, contributors)

    reveals, blamed = sift(Reveal, replies, state.confirmed, check)
    shares = sift_shares(step, reveals)
    blamed = state.blamed + blamed + tuple(Blame(*one) for one in shares.wrong)
    try:
        words_W = open_sum(step, state.uploads, shares)
    except TooFewSites as error:
        raise TooFewSites(f"{error} ({because(blamed)})") from error
    except SumSpoiled:
        _blame_altered(state.uploads)
        raise
    uploads = tuple(upload.uploaded for upload in state.uploads)
    signed = Signed(step.ctx, step.r1, uploads, state.confirmations)
    return Outcome(words_W, contributors, signed, blamed)


def _blame_altered(uploads: Sequence[Upload]) -> None:
    """Raise PeerMisbehaved for the first site whose vector is not the one it signed."""
    for upload in uploads:
        one = upload.uploaded
        if transcript.y_hash(upload.vector) != one.y_hash:
            raise PeerMisbehaved(one.site, "its vector is not the one whose hash it signed")
