"""A site's side of SA1: the table of stages, and `advance`, which takes one step in it.

Store the new state before the reply leaves: the next message may reach another process. A
raised error means that nothing may leave; `refuse` makes the message that says so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from common.errors import OutOfOrder, PeerMisbehaved, ProtocolError, TacitError
from common.secagg.checks import COORDINATOR
from common.secagg.dealing import open_dealings
from common.secagg.masking import check_mask, mask
from common.secagg.masks import Words
from common.secagg.messages import Refusal, encode
from common.secagg.roster import Member
from common.secagg.stages import Entropy, advertise, confirm, share, unmask
from common.secagg.states import Advertised, Confirmed, Finished, Keyed, Masked, Shared, State

__all__ = [
    "Given",
    "advance",
    "advertise",
    "check_mask",
    "confirm",
    "mask",
    "open_dealings",
    "refuse",
    "share",
    "unmask",
]


def refuse(member: Member, error: TacitError) -> bytes:
    """Return the message that a site sends in place of a reply when a step raised.

    Only errors of the protocol say why; the text of any other stays at the site.
    """
    if isinstance(error, PeerMisbehaved):
        return encode(Refusal(member.name, error.peer, error.reason[:400]))
    reason = str(error)[:400] if isinstance(error, ProtocolError) else type(error).__name__
    return encode(Refusal(member.name, COORDINATOR, reason))


@dataclass(frozen=True)
class Given:
    """What the caller of `advance` brings to a stage.

    Args:
        entropy: random bytes, for ADVERTISE and SHARE.
        config_hash: for ADVERTISE.
        model_hash: for MASK.
        vector_W: encoded words, for MASK.
    """

    entropy: Entropy
    config_hash: bytes = b""
    model_hash: bytes = b""
    vector_W: Words | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Step:
    """One row of the table: which states may take the stage, and the function that does."""

    states: tuple[type, ...]
    run: Callable[..., tuple[State, bytes]]


def _mask(member: Member, state: State, request: bytes, given: Given) -> tuple[State, bytes]:
    if given.vector_W is None:
        raise OutOfOrder("MASK: the caller brought no vector")
    return mask(member, state, request, given.vector_W, model_hash=given.model_hash)  # type: ignore[arg-type]


ANY: tuple[type, ...] = (type(None), Advertised, Shared, Keyed, Masked, Confirmed, Finished)
TABLE: Mapping[str, Step] = {
    "advertise": Step(
        ANY,
        lambda m, _, r, g: advertise(m, r, config_hash=g.config_hash, entropy=g.entropy),
    ),
    "share": Step((Advertised,), lambda m, s, r, g: share(m, s, r, entropy=g.entropy)),
    "mask": Step((Shared, Keyed, Masked, Confirmed), _mask),
    "confirm": Step((Masked,), lambda m, s, r, _: confirm(m, s, r)),
    "unmask": Step((Confirmed,), lambda m, s, r, _: unmask(m, s, r)),
}


def advance(
    member: Member, stage: str, state: State | None, request: bytes, given: Given
) -> tuple[State, bytes]:
    """Take one stage's request to the next state and the reply.

    Raises:
        OutOfOrder: the state does not await this stage, or there is no such stage.
        TacitError: whatever the stage's own function raises.
    """
    step = TABLE.get(stage)
    if step is None or type(state) not in step.states:
        raise OutOfOrder(_awaited(stage, state))
    return step.run(member, state, request, given)


def _awaited(stage: str, state: State | None) -> str:
    """Say which stages a state takes, which one came, and what to do."""
    takes = [name for name, step in TABLE.items() if type(state) in step.states]
    now = "no round yet" if state is None else f"the state {type(state).__name__}"
    return (
        f"got {stage!r}, but {now} takes {' or '.join(map(repr, takes))}; what was answered or "
        "missed is not answered again: begin a new attempt with 'advertise'"
    )
