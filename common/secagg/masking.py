"""The MASK stage of a site: check, add the masks to an encoded vector, sign its hash."""

import hashlib
from dataclasses import replace
from io import SEEK_END, BytesIO

import numpy as np

from common.errors import OutOfOrder
from common.secagg import checks, masks, transcript
from common.secagg.checks import COORDINATOR
from common.secagg.codec import before_view
from common.secagg.dealing import open_dealings
from common.secagg.masks import Words
from common.secagg.messages import (
    FORMS,
    MAGIC,
    UPLOADED,
    MaskRequest,
    Upload,
    Uploaded,
    decode,
)
from common.secagg.roster import Member
from common.secagg.states import Confirmed, Keyed, Masked, Shared


def mask(
    member: Member,
    state: Shared | Keyed | Masked | Confirmed,
    request: bytes,
    vector_W: Words,
    *,
    model_hash: bytes,
) -> tuple[Masked, bytes]:
    """MASK: add the masks to an encoded vector.

    Args:
        member: this site.
        state: after SHARE; or of an earlier step of the same keying.
        request: a MaskRequest.
        vector_W: uint64 words from common.secagg.ring; not changed.
        model_hash: of the model that this site really trained on.

    Raises:
        PeerMisbehaved: see open_dealings; another model than announced.
        OutOfOrder: another attempt, a step that is past, or a second MASK.
        PrivacyError: the site already confirmed a sum on this model.
    """
    keyed = check_mask(member, state, request, model_hash=model_hash)
    context, locks = keyed.context, member.locks
    checks.vector_fits(vector_W, member.policy.layouts[context.task].words)
    checks.lock_stage("MASK", context.keying, keyed.step, locks)
    locks.begin(checks.series(context), context.round + keyed.step, context.attempt)
    return _masked(member, keyed, model_hash, vector_W)


def check_mask(
    member: Member,
    state: Shared | Keyed | Masked | Confirmed,
    request: bytes,
    *,
    model_hash: bytes,
) -> Keyed:
    """Check all of a MASK request that can be checked before there is a vector.

    Call it before training, so that a request which will be refused costs no work and no
    privacy; then pass the state that it returns to MASK.

    Args:
        member: this site.
        state: after SHARE; or of an earlier step of the same keying.
        request: a MaskRequest.
        model_hash: of the model that this site was sent.

    Raises:
        As mask does, but for the vector and a second MASK.
    """
    message = decode(MaskRequest, request, COORDINATOR)
    keyed = _at_step(_keyed(member, state, message), message)
    checks.round_is_current(keyed.context, message.step, member.locks)
    checks.model_is_mine(keyed.context, message.model_hash, model_hash)
    checks.model_is_unlocked(keyed.context, message.step, model_hash, member.locks)
    return keyed


def _masked(
    member: Member, keyed: Keyed, model_hash: bytes, vector_W: Words
) -> tuple[Masked, bytes]:
    """Return the state and the upload of a step whose checks have passed."""
    context, me = keyed.context, member.name
    ctx = context.digest(keyed.step, model_hash)
    r1 = transcript.r1(ctx, keyed.r0, keyed.sharers)
    blank = Uploaded(me, bytes(32), member.notes.mine(), bytes(64))
    room = room_for(blank, vector_W.size + 1)
    y_hash = mask_into(words_of(room, vector_W.size + 1), me, keyed, ctx, vector_W)
    uploaded = replace(blank, y_hash=y_hash)
    signature = member.identity.sign("upload", *transcript.upload_parts(ctx, r1, uploaded))
    later = keyed.steps[1:]
    new = Masked(
        context,
        keyed.step,
        model_hash,
        ctx,
        r1,
        y_hash,
        len(keyed.cohort),
        tuple(sharer.site for sharer in keyed.sharers),
        keyed.steps[0].held,
        keyed.notes,
        replace(keyed, step=keyed.step + 1, steps=later) if later else None,
    )
    return new, finished(room, replace(uploaded, signature=signature))


def _keyed(
    member: Member, state: Shared | Keyed | Masked | Confirmed, message: MaskRequest
) -> Keyed:
    """Return the opened keys that a state holds, opening them first after SHARE."""
    if isinstance(state, Shared):
        return open_dealings(member, state, message)
    keyed = state if isinstance(state, Keyed) else state.rest
    if keyed is None:
        raise OutOfOrder("MASK: no keys are left in this attempt")
    checks.attempt_is_mine(message.keying, keyed.context.keying)
    return keyed


def _at_step(keyed: Keyed, message: MaskRequest) -> Keyed:
    """Return the keys from the asked step on; those of steps that passed are dropped."""
    skipped = message.step - keyed.step
    if not 0 <= skipped < len(keyed.steps):
        raise OutOfOrder(f"MASK: step {message.step} is past, or was never keyed")
    return replace(keyed, step=message.step, steps=keyed.steps[skipped:])


def room_for(blank: Uploaded, words: int) -> BytesIO:
    """Return room for an Upload of that many words, in which all but its vector is blank.

    The vector is made where it stands in the message: at its size, a copy costs more than
    the masks of two neighbours.
    """
    head = MAGIC + bytes([FORMS[Upload][0]]) + before_view(8 * words)
    room = BytesIO(bytes(len(head) + 8 * words + len(UPLOADED.dump(blank))))
    room.write(head)
    return room


def words_of(room: BytesIO, words: int) -> Words:
    """Return the words of the vector in that room, to be written; let go of them to finish."""
    return np.frombuffer(room.getbuffer(), "<u8", words, room.tell())


def finished(room: BytesIO, uploaded: Uploaded) -> bytes:
    """Return encode(Upload(vector, uploaded)), the vector being that in the room."""
    tail = UPLOADED.dump(uploaded)
    room.seek(-len(tail), SEEK_END)
    room.write(tail)
    return room.getvalue()


def mask_into(y_W: Words, me: str, keyed: Keyed, ctx: bytes, vector_W: Words) -> bytes:
    """Write y = x + G(b) + Σ_{v<u} G(k_uv) − Σ_{v>u} G(k_uv) mod 2^64, and return H(y).

    The check word is the last one of x. A segment is copied, taken into the check word, masked
    and hashed before the next one is touched.
    """
    applied = masks.Masks(*mask_keys(me, keyed, ctx))
    check = masks.Checksum(transcript.check_key(ctx))
    hashing = hashlib.sha256(transcript.Y_LABEL)
    for segment, start, y_N in masks.segments(y_W):
        x_N = vector_W[start : start + y_N.size]
        own_N = y_N[: x_N.size]
        np.copyto(own_N, x_N)
        check.add(segment, own_N)
        if own_N.size < y_N.size:
            y_N[-1] = transcript.check_word(ctx, check.total)
        applied.apply(segment, y_N)
        hashing.update(y_N.data)
    return hashing.digest()


def mask_keys(me: str, keyed: Keyed, ctx: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the keys of the masks that a site adds, and of those that it takes off."""
    step = keyed.steps[0]
    keys = {
        pair.site: transcript.pair_mask(pair.share, ctx, keyed.r0, me, pair.site)
        for pair in step.pairs
    }
    plus = [transcript.self_mask(step.b, ctx, keyed.r0, me)]
    plus += [key for site, key in keys.items() if site < me]
    return plus, [key for site, key in keys.items() if site > me]
