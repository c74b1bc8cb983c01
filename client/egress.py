"""The last look at what leaves the site: only the protocol's fields, only of the right size."""

from client.session import Session
from common.errors import PrivacyError
from common.secagg.riding import JOINED
from common.wire import VERSION, Reply

_BYTES_A_WORD = 8
_HEADER_BYTES = 4096
_BYTES_A_PEER = 1 << 12
_BYTES_A_STEP = 1 << 12


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
        PrivacyError: a field that does not belong to the stage, or one too large for it.
    """
    if set(reply.fields) != {"body"} or not isinstance(reply.fields["body"], bytes):
        raise PrivacyError(f"{stage} may send the protocol's body, nothing else.")
    size, most = len(reply.fields["body"]), most_bytes(stage, session)
    if size > most:
        raise PrivacyError(f"{stage} would send {size} bytes; this study needs at most {most}.")


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
