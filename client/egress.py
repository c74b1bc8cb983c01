"""The last look at what leaves the site: only the protocol's fields, only of the right size.

It looks at the message itself, after whatever answered, so it holds where the code that trains
misbehaves: a record, a field or an error's text of its own does not pass, and no number without
its receipt from the ledger. Code that patches this module or opens a connection of its own is
beyond it: that is for the list of approved bundles, and for the firewall.
"""

from collections.abc import Collection
from typing import Any

from flwr.app import Message

from client.charge import what_of
from client.session import Session
from common.errors import PrivacyError, ProtocolError
from common.secagg.checks import COORDINATOR
from common.secagg.messages import (
    Advert,
    Confirmation,
    Dealing,
    Pair,
    Refusal,
    Reveal,
    Upload,
    decode,
    is_refusal,
)
from common.secagg.riding import CONFIRM_ADVERTISE, JOINED, UNMASK_SHARE
from common.secagg.states import Masked, State
from common.wire import VERSION, Reply, decode_reply

FORMS: dict[str, tuple[type, ...]] = {
    "advertise": (Advert,),
    "share": (Dealing,),
    "mask": (Upload,),
    "confirm": (Confirmation,),
    "unmask": (Reveal,),
    CONFIRM_ADVERTISE: (Confirmation, Advert),
    UNMASK_SHARE: (Reveal, Dealing),
}
"""Stage -> the messages that its body holds; two of them where stages are joined."""

_BYTES_A_WORD = 8
_HEADER_BYTES = 4096
_BYTES_A_PEER = 1 << 12
_BYTES_A_STEP = 1 << 12


def reply_in(stage: str, made: Message) -> Reply:
    """What a message says, when it is a reply of the protocol and nothing beside it.

    Raises:
        PrivacyError: it holds another record or field, or an error's text.
    """
    if made.has_error():
        raise PrivacyError(f"{stage} would send an error of its own: {made.error.reason}")
    try:
        return decode_reply(stage, made.content)
    except ProtocolError as error:
        raise PrivacyError(f"{stage} would send what is no reply: {error}") from error


def check_receipt(stage: str, reply: Reply, session: Session, state: State | None) -> None:
    """Let a masked vector pass where the ledger was charged for it, or stop it.

    Raises:
        PrivacyError: no charge of this very round and attempt is on record.
    """
    if stage != "mask" or is_refusal(bytes(reply.fields["body"])):  # type: ignore[arg-type]
        return
    if isinstance(state, Masked):
        now = state.context
        is_charged = session.ledger.is_committed(
            session.study.name,
            run=now.run,
            round=now.round + state.step,
            attempt=now.attempt,
            what=what_of(session.study, now.task),
        )
        if is_charged:
            return
    raise PrivacyError("mask would send numbers that the ledger was not charged for.")


def check_hello(reply: Reply, site: str) -> None:
    """Let the answer to hello pass, or stop it.

    Raises:
        PrivacyError: it says anything but the site's name and the version.
    """
    if dict(reply.fields) != {"version": VERSION, "site": site}:
        raise PrivacyError("hello may say the site's name and the version, nothing else.")


def check(stage: str, reply: Reply, session: Session) -> None:
    """Let a reply pass, or stop it.

    Raises:
        PrivacyError: a field that does not belong to the stage, one too large for it, or bytes
            that are not the stage's message in this site's name.
    """
    if set(reply.fields) != {"body"} or not isinstance(reply.fields["body"], bytes):
        raise PrivacyError(f"{stage} may send the protocol's body, nothing else.")
    size, most = len(reply.fields["body"]), most_bytes(stage, session)
    if size > most:
        raise PrivacyError(f"{stage} would send {size} bytes; this study needs at most {most}.")
    try:
        _check_form(stage, reply.fields["body"], session.site.name, session.roster)
    except ProtocolError as error:
        raise PrivacyError(f"{stage} would send what is no message of it: {error}") from error


def _check_form(stage: str, body: bytes, site: str, names: Collection[str]) -> None:
    """Read a body as whoever gets it would, to its last byte.

    Raises:
        ProtocolError: it is another message than the stage's, or in another's name.
    """
    halves: tuple[bytes, ...] = (body,)
    if stage in JOINED and not is_refusal(body):
        pair = decode(Pair, body, site)
        halves = (pair.first, pair.second)
    for form, half in zip(FORMS[stage], halves, strict=False):
        if half:
            made: Any = decode(Refusal if is_refusal(half) else form, half, site)
            if is_refusal(half) and made.accused not in (*names, COORDINATOR):
                raise ProtocolError("it accuses nobody of this study")
            if getattr(made, "uploaded", made).site != site:
                raise ProtocolError("it speaks in the name of another site")


def most_bytes(stage: str, session: Session) -> int:
    """The largest body of a stage, from the study and the roster alone."""
    policy = session.member.policy
    steps = session.study.secure_aggregation.rounds_per_key
    peers = len(policy.roster) * (_BYTES_A_PEER + steps * _BYTES_A_STEP)
    if stage in JOINED:
        peers *= len(JOINED)
    if stage == "mask":
        words = max(layout.words for layout in policy.layouts.values())
        return words * _BYTES_A_WORD + _HEADER_BYTES
    return peers + _HEADER_BYTES
