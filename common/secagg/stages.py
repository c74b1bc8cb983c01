"""The stages of a site but MASK: `(member, state, request, …) -> (next state, reply)`.

A stage checks first (common.secagg.checks), then locks, then answers. Only the state that
it returns may be kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from common.secagg import checks, transcript
from common.secagg.checks import COORDINATOR
from common.secagg.dealing import deal
from common.secagg.messages import (
    MOST_STEPS,
    Advert,
    AdvertiseRequest,
    Confirmation,
    ConfirmRequest,
    Dealing,
    Reveal,
    Share,
    ShareRequest,
    UnmaskRequest,
    Uploaded,
    decode,
    encode,
)
from common.secagg.roster import Member
from common.secagg.shamir import random_scalar, to_bytes
from common.secagg.states import (
    Advertised,
    Confirmed,
    Finished,
    Keyed,
    Masked,
    Noted,
    Shared,
    StepSecrets,
)

Entropy = Callable[[int], bytes]


def advertise(
    member: Member, request: bytes, *, config_hash: bytes, entropy: Entropy
) -> tuple[Advertised, bytes]:
    """ADVERTISE: make fresh keys for this attempt.

    Args:
        member: this site.
        request: an AdvertiseRequest.
        config_hash: hash of the configuration that this site found within its policy.
        entropy: returns that many random bytes; os.urandom outside tests.

    Raises:
        PolicyRefused: another policy, task or configuration than this site's.
        OutOfOrder: (round, attempt) is not newer than all before.
        PrivacyError: the site already confirmed a sum on this model.
    """
    context = decode(AdvertiseRequest, request, COORDINATOR).context
    checks.policy_is_mine(context, member.policy)
    checks.task_is_known(context, member.policy)
    checks.config_is_mine(context, config_hash)
    checks.steps_are_few(context, MOST_STEPS)
    checks.attempt_is_newer(context, member.locks)
    checks.model_is_unlocked(context, 0, context.model_hash, member.locks)
    note, kept = member.notes.mine(), member.notes.kept()
    member.locks.begin(checks.series(context), context.round, context.attempt)
    channel, *rest = (to_bytes(random_scalar(entropy)) for _ in range(1 + 2 * context.steps))
    secrets = tuple(StepSecrets(s, b) for s, b in zip(rest[::2], rest[1::2], strict=True))
    advert = _advert(member, context.keying, channel, secrets, note)
    seen = tuple(Noted(site, kept[site]) for site in sorted(kept))
    return Advertised(context, channel, secrets, advert, seen), encode(advert)


def _advert(
    member: Member,
    keying: bytes,
    channel: bytes,
    secrets: tuple[StepSecrets, ...],
    note: bytes | None,
) -> Advert:
    """Return the signed advert of these secrets, and of a note."""
    suite, me = member.policy.keys, member.name
    steps = [
        transcript.step_keys(suite, keying, me, i, one.s, one.b) for i, one in enumerate(secrets)
    ]
    public = transcript.channel_keys(suite, keying, me, channel).public
    advert = Advert(me, public, tuple(steps), note, b"")
    signature = member.identity.sign("advert", *transcript.advert_parts(keying, advert))
    return replace(advert, signature=signature)


def share(
    member: Member, state: Advertised, request: bytes, *, entropy: Entropy
) -> tuple[Shared, bytes]:
    """SHARE: deal shares of both secrets, and pair keys, to every neighbour that advertised.

    Args:
        member: this site.
        state: after ADVERTISE.
        request: a ShareRequest.
        entropy: returns that many random bytes.

    Raises:
        PeerMisbehaved: an advert unsigned, altered, missing, with another's key, or with a note
            that does not follow what was kept of that peer.
        TooFewSites: fewer sites than the policy or the threshold asks.
        OutOfOrder: the message is for another attempt.
    """
    message = decode(ShareRequest, request, COORDINATOR)
    keying, policy = state.context.keying, member.policy
    cohort = tuple(advert.site for advert in message.adverts)
    checks.attempt_is_mine(message.keying, keying)
    checks.names_are_sorted("SHARE", cohort)
    checks.enough("SHARE", len(cohort), policy.min_sites)
    checks.adverts_are_signed(message.adverts, keying, policy.roster)
    checks.own_advert_is_intact(message.adverts, state.advert)
    checks.no_key_twice(message.adverts)
    checks.steps_agree(message.adverts, state.context.steps)
    checks.notes_follow(message.adverts, _by_site(state.seen), member.notes)
    checks.lock_stage("SHARE", keying, 0, member.locks)
    _keep(member, message.adverts)
    r0 = transcript.r0(keying, message.adverts)
    items, own = deal(policy, state, message.adverts, r0, entropy)
    dealing_hash = transcript.dealing_hash(
        keying, r0, member.name, [transcript.item_hash(item) for item in items]
    )
    signature = member.identity.sign("dealing", dealing_hash)
    new = Shared(
        state.context,
        state.channel_secret,
        state.secrets,
        r0,
        cohort,
        own,
        dealing_hash,
        tuple(Noted(one.site, one.note) for one in message.adverts if one.note is not None),
    )
    return new, encode(Dealing(member.name, items, signature))


def _by_site(notes: Sequence[Noted]) -> dict[str, bytes]:
    return {one.site: one.note for one in notes}


def _keep(member: Member, shown: Sequence[Advert] | Sequence[Uploaded]) -> None:
    """Keep the notes that peers showed, before what this site signs next says that it saw them."""
    member.notes.keep({one.site: one.note for one in shown if one.note is not None})


def confirm(member: Member, state: Masked, request: bytes) -> tuple[Confirmed, bytes]:
    """CONFIRM: sign the list of uploads, and lock the model against a sum of other sites.

    Raises:
        PeerMisbehaved: an upload unsigned, altered, missing, from outside U1, or with a note that
            does not follow the one that came with the keys.
        TooFewSites: fewer uploads than the threshold or the policy asks.
        OutOfOrder: the message is for another attempt, or CONFIRM was answered.
        PrivacyError: the site already confirmed a sum of other sites on this model.
    """
    message = decode(ConfirmRequest, request, COORDINATOR)
    names = [upload.site for upload in message.uploads]
    checks.attempt_is_mine(message.ctx, state.ctx)
    checks.names_are_sorted("CONFIRM", names)
    checks.within("CONFIRM", names, state.sharers)
    checks.enough("CONFIRM", len(names), member.policy.quorum(state.cohort_size))
    checks.own_upload_is_intact(message.uploads, member.name, state.y_hash)
    checks.uploads_are_signed(message.uploads, state.ctx, state.r1, member.policy.roster)
    checks.notes_follow(message.uploads, _by_site(state.notes), member.notes)
    checks.lock_stage("CONFIRM", state.context.keying, state.step, member.locks)
    checks.lock_model(state.context, state.step, state.model_hash, names, member.locks)
    _keep(member, message.uploads)
    r2 = transcript.r2(state.ctx, state.r1, message.uploads)
    signature = member.identity.sign("confirm", state.ctx, r2)
    new = Confirmed(
        state.context,
        state.step,
        state.ctx,
        r2,
        state.cohort_size,
        state.sharers,
        tuple(names),
        state.held,
        state.rest,
    )
    return new, encode(Confirmation(member.name, signature))


def unmask(member: Member, state: Confirmed, request: bytes) -> tuple[Finished | Keyed, bytes]:
    """UNMASK: reveal b of each neighbour that uploaded, s of each that shared and did not.

    Guarantees: never both of one site; the new state holds no secret of this step.

    Raises:
        TooFewSites: fewer than t sites confirmed the list that this site confirmed.
        OutOfOrder: the message is for another attempt, or UNMASK was answered.
    """
    message = decode(UnmaskRequest, request, COORDINATOR)
    names = [one.site for one in message.confirmations]
    checks.attempt_is_mine(message.ctx, state.ctx)
    checks.names_are_sorted("UNMASK", names)
    checks.within("UNMASK", names, state.uploaders)
    needed = member.policy.quorum(state.cohort_size)
    checks.confirmations_suffice(_confirming(member, state, message, needed), needed)
    checks.lock_stage("UNMASK", state.context.keying, state.step, member.locks)
    done = set(state.uploaders)
    b = tuple(Share(held.site, held.b) for held in state.held if held.site in done)
    s = tuple(Share(held.site, held.s) for held in state.held if held.site not in done)
    signature = member.identity.sign("reveal", *transcript.reveal_parts(state.ctx, b, s))
    new = state.rest or Finished(state.context, state.step)
    return new, encode(Reveal(member.name, b, s, signature))


def _confirming(member: Member, state: Confirmed, message: UnmaskRequest, needed: int) -> list[str]:
    """Return the sites that signed this site's R2, as soon as there are `needed` of them."""
    found: list[str] = []
    for one in message.confirmations:
        signed = member.policy.roster.signed(
            one.site, one.signature, "confirm", state.ctx, state.r2
        )
        found += [one.site] if signed else []
        if len(found) == needed:
            break
    return found
