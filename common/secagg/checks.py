"""Every check that a site makes before it answers, one function each.

Each raises with what was expected and what came; each has a test that fails when the
check is taken out. The stage that asks for it stands in its first line.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from common.errors import (
    OutOfOrder,
    PeerMisbehaved,
    PolicyRefused,
    PrivacyError,
    Replayed,
    TooFewSites,
)
from common.secagg import transcript
from common.secagg.masks import Words
from common.secagg.messages import Advert, Commitments, Dealt, Sharer, Uploaded
from common.secagg.roster import Context, Locks, Notes, Policy, Roster

COORDINATOR = "coordinator"
_CONFIRMED_BEFORE = (
    "this site already confirmed a {task!r} sum on this very model, in another round or over other "
    "sites; a sum that broke off can be made again over the very same sites only"
)


def policy_is_mine(context: Context, policy: Policy) -> None:
    """ADVERTISE: the policy is the one that this site pinned."""
    if context.policy_id != policy.policy_id:
        raise PolicyRefused("the round is under another policy than the one this site pinned")


def task_is_known(context: Context, policy: Policy) -> None:
    """ADVERTISE: the policy says what is summed in this task."""
    if context.task not in policy.layouts:
        raise PolicyRefused(
            f"the policy has no task {context.task!r}; it has {', '.join(sorted(policy.layouts))}"
        )


def config_is_mine(context: Context, config_hash: bytes) -> None:
    """ADVERTISE: the configuration is the one that this site found within its policy."""
    if context.config_hash != config_hash:
        raise PolicyRefused("the round is under another configuration than this site was given")


def steps_are_few(context: Context, most: int) -> None:
    """ADVERTISE: at least one round is keyed, and no more than a message can hold."""
    if not 1 <= context.steps <= most:
        raise PolicyRefused(f"expected 1 to {most} rounds keyed at once, got {context.steps}")


def series(context: Context) -> str:
    """Return the series within which (round, attempt) only ever grows."""
    return f"{context.run}/{context.task}"


def attempt_is_newer(context: Context, locks: Locks) -> None:
    """ADVERTISE: (round, attempt) is newer than all before."""
    newest = locks.newest(series(context))
    if (context.round, context.attempt) <= newest:
        raise Replayed(
            f"round {context.round} attempt {context.attempt} is not newer than "
            f"round {newest[0]} attempt {newest[1]}"
        )


def round_is_current(context: Context, step: int, locks: Locks) -> None:
    """MASK: no newer (round, attempt) was begun since the keys were made."""
    newest = locks.newest(series(context))
    if (context.round + step, context.attempt) < newest:
        raise OutOfOrder(f"round {newest[0]} attempt {newest[1]} was begun since")


def model_is_unlocked(context: Context, step: int, model_hash: bytes, locks: Locks) -> None:
    """ADVERTISE, MASK: no sum over this model was confirmed before, but in this very round.

    That round may have broken off after CONFIRM; whether the sites are the same, CONFIRM sees.
    """
    is_locked = model_hash and locks.locked(transcript.model_lock(context.task, model_hash))
    if is_locked and not locks.locked(transcript.sum_lock(context, step, model_hash)):
        raise PrivacyError(_CONFIRMED_BEFORE.format(task=context.task))


def lock_model(
    context: Context, step: int, model_hash: bytes, names: Sequence[str], locks: Locks
) -> None:
    """CONFIRM: over this model, no sum but of these very sites, in this round of this run.

    Guarantees: over one model and task a site never confirms two sets of sites, in whatever run.
    A crash between two of the locks leaves the model locked for good.
    """
    same = transcript.sum_lock(context, step, model_hash, names)
    if locks.lock(transcript.model_lock(context.task, model_hash)):
        locks.lock(same)
        locks.lock(transcript.sum_lock(context, step, model_hash))
    elif not locks.locked(same):
        raise PrivacyError(_CONFIRMED_BEFORE.format(task=context.task))


def lock_stage(stage: str, keying: bytes, step: int, locks: Locks) -> None:
    """SHARE, MASK, CONFIRM, UNMASK: the stage is answered once, whatever state is put back."""
    if not locks.lock(transcript.stage_lock(stage, keying, step)):
        raise OutOfOrder(f"{stage} was already answered in this attempt")


def attempt_is_mine(came: bytes, mine: bytes) -> None:
    """SHARE to UNMASK: the message is for the attempt that this site is in."""
    if came != mine:
        raise OutOfOrder("the message is for another round, attempt, step or model")


def names_are_sorted(stage: str, names: Sequence[str]) -> None:
    """SHARE to UNMASK: each site once, in ascending order."""
    if list(names) != sorted(set(names)):
        raise PeerMisbehaved(COORDINATOR, f"{stage}: expected each site once, ascending")


def adverts_are_signed(adverts: Sequence[Advert], keying: bytes, roster: Roster) -> None:
    """SHARE: every advert carries the signature of a site of the roster."""
    for advert in adverts:
        parts = transcript.advert_parts(keying, advert)
        if not roster.signed(advert.site, advert.signature, "advert", *parts):
            raise PeerMisbehaved(COORDINATOR, f"the advert of {advert.site!r} is not signed by it")


def own_advert_is_intact(adverts: Sequence[Advert], mine: Advert) -> None:
    """SHARE: this site's own advert is in the list as it was sent."""
    if mine not in adverts:
        raise PeerMisbehaved(COORDINATOR, "this site's own advert is missing or was altered")


def no_key_twice(adverts: Sequence[Advert]) -> None:
    """SHARE: no key stands in the list twice."""
    seen: dict[bytes, str] = {}
    for advert in adverts:
        for key in (advert.channel_key, *(step.mask_key for step in advert.steps)):
            if key in seen:
                raise PeerMisbehaved(advert.site, f"advertised a key of {seen[key]!r}")
            seen[key] = advert.site


def steps_agree(adverts: Sequence[Advert], steps: int) -> None:
    """SHARE: every advert has keys for each step."""
    for advert in adverts:
        if len(advert.steps) != steps:
            raise PeerMisbehaved(advert.site, f"expected keys for {steps} steps")


def notes_follow(
    shown: Sequence[Advert] | Sequence[Uploaded], kept: Mapping[str, bytes], notes: Notes
) -> None:
    """SHARE, CONFIRM: what each peer publishes follows what this site had kept of it."""
    for one in shown:
        why = notes.follows(kept.get(one.site), one.note)
        if why:
            raise PeerMisbehaved(one.site, why)


def enough(stage: str, sites: int, needed: int) -> None:
    """SHARE, MASK, CONFIRM: the set has as many sites as the threshold and the policy ask."""
    if sites < needed:
        raise TooFewSites(f"{stage}: expected at least {needed} sites, got {sites}")


def within(stage: str, names: Collection[str], whole: Collection[str]) -> None:
    """MASK, CONFIRM, UNMASK: nobody joins who was not in the set before."""
    strangers = sorted(set(names) - set(whole))
    if strangers:
        raise PeerMisbehaved(COORDINATOR, f"{stage}: {strangers[0]!r} was not in the set before")


def own_dealing_is_listed(sharers: Sequence[Sharer], mine: Sharer) -> None:
    """MASK: the sharing set contains this site, with what it dealt."""
    if mine not in sharers:
        raise PeerMisbehaved(COORDINATOR, "this site's own dealing is missing or was altered")


def dealers_are_complete(dealt: Sequence[Dealt], expected: Collection[str]) -> None:
    """MASK: there is one item from each neighbour that shared, and no other."""
    if [one.site for one in dealt] != sorted(expected):
        raise PeerMisbehaved(COORDINATOR, "expected one item from each neighbour that shared")


def item_is_signed(dealt: Dealt, dealing_hash: bytes, roster: Roster) -> None:
    """MASK: the item is one of those that the dealer signed."""
    if transcript.item_hash(dealt.item) not in dealt.item_hashes:
        raise PeerMisbehaved(COORDINATOR, f"the item of {dealt.site!r} is not what it dealt")
    if not roster.signed(dealt.site, dealt.signature, "dealing", dealing_hash):
        raise PeerMisbehaved(COORDINATOR, f"the dealing of {dealt.site!r} is not signed by it")


def dealing_is_the_listed(dealt: Dealt, dealing_hash: bytes, listed: Mapping[str, bytes]) -> None:
    """MASK: the dealing is the one that all sites are told of."""
    if listed.get(dealt.site) != dealing_hash:
        raise PeerMisbehaved(COORDINATOR, f"two different dealings of {dealt.site!r}")


def item_is_for(dealt: Dealt, me: str) -> None:
    """MASK: the item was dealt to this site."""
    if dealt.item.site != me:
        raise PeerMisbehaved(COORDINATOR, f"the item of {dealt.site!r} is for another site")


def opened_matches(dealer: str, opened: Commitments, committed: Commitments) -> None:
    """MASK: what was opened is what the dealer committed to."""
    if opened != committed:
        raise PeerMisbehaved(dealer, "dealt a share or a key that is not what it committed to")


def model_is_mine(context: Context, announced: bytes, mine: bytes) -> None:
    """MASK: the model this site used is the one that this attempt is about."""
    if announced != mine or context.model_hash not in (b"", announced):
        raise PeerMisbehaved(COORDINATOR, "sent another model than the attempt is about")


def vector_fits(vector_W: Words, words: int) -> None:
    """MASK: the vector has the words that the policy's layout asks for."""
    if vector_W.dtype != np.uint64 or vector_W.shape != (words,):
        raise PolicyRefused(f"expected {words} words of 64 bits, as the layout says")


def uploads_are_signed(uploads: Sequence[Uploaded], ctx: bytes, r1: bytes, roster: Roster) -> None:
    """CONFIRM: every H(y) carries its site's signature over this context and R1."""
    for one in uploads:
        parts = transcript.upload_parts(ctx, r1, one)
        if not roster.signed(one.site, one.signature, "upload", *parts):
            raise PeerMisbehaved(COORDINATOR, f"the upload of {one.site!r} is not signed by it")


def own_upload_is_intact(uploads: Sequence[Uploaded], me: str, y_hash: bytes) -> None:
    """CONFIRM: this site is in the list, with the vector that it sent."""
    if (me, y_hash) not in [(one.site, one.y_hash) for one in uploads]:
        raise PeerMisbehaved(COORDINATOR, "this site's own upload is missing or was altered")


def confirmations_suffice(confirming: Collection[str], needed: int) -> None:
    """UNMASK: enough sites confirmed the very list that this site confirmed."""
    if len(confirming) < needed:
        raise TooFewSites(
            f"UNMASK: expected {needed} confirmations of the list this site confirmed, "
            f"got {len(confirming)}"
        )
