"""Every message of a round, as frozen data with one bounded binary form.

Requests go from the coordinator to one site, replies from a site to the coordinator.
`encode` and `decode` are the only way in and out; decoding never trusts a length.
"""

from dataclasses import dataclass, field
from typing import TypeVar

from common.errors import PeerMisbehaved, ProtocolError
from common.secagg.codec import (
    HASH,
    MOST_SITES,
    NAME,
    SECRET,
    SIGNATURE,
    U16,
    Codec,
    blob,
    fixed,
    many,
    many_fixed,
    optional,
    struct,
    text,
    view,
)
from common.secagg.roster import CONTEXT, Context

M = TypeVar("M")

MOST_STEPS = 64
MAGIC = b"SA1\x00"
NOTE_BYTES = 40
NOTE = fixed(NOTE_BYTES)
KEY = blob(1216)
SEALED_KEY = blob(1120 + 16 + 32)
SEALED_SHARES = blob(1120 + 16 + 64 * MOST_STEPS)
VECTOR = view(1 << 36)


@dataclass(frozen=True)
class StepKeys:
    """What a site advertises for one keyed step: its mask public key and H(b)."""

    mask_key: bytes
    b_hash: bytes


@dataclass(frozen=True)
class AdvertiseRequest:
    """ADVERTISE, to a site: what this attempt is about."""

    context: Context


@dataclass(frozen=True)
class Advert:
    """ADVERTISE, from a site: its keys for this attempt, and what it publishes with them, signed.

    The note is opaque here (roster.Notes): of NOTE_BYTES, or None where a site publishes nothing.
    """

    site: str
    channel_key: bytes
    steps: tuple[StepKeys, ...]
    note: bytes | None
    signature: bytes


@dataclass(frozen=True)
class ShareRequest:
    """SHARE, to a site: all adverts that arrived (U0)."""

    keying: bytes
    adverts: tuple[Advert, ...]


@dataclass(frozen=True)
class Commitments:
    """Hashes of what a dealer gave one peer for one step: shares of b and s, and the pair key."""

    b: bytes
    s: bytes
    pair: bytes


@dataclass(frozen=True)
class Item:
    """What a dealer gives one peer: sealed shares, sealed pair keys (if it is the lower), hashes.

    An item to the dealer itself carries commitments only.
    """

    site: str
    sealed_shares: bytes
    sealed_pairs: tuple[bytes, ...]
    commitments: tuple[Commitments, ...]


@dataclass(frozen=True)
class Dealing:
    """SHARE, from a site: one item for each neighbour, all signed at once."""

    site: str
    items: tuple[Item, ...]
    signature: bytes


@dataclass(frozen=True)
class Dealt:
    """One dealer's item for the receiver, with the hashes of all items that were signed."""

    site: str
    item: Item
    item_hashes: tuple[bytes, ...]
    signature: bytes


@dataclass(frozen=True)
class Sharer:
    """A member of U1 and the hash of its dealing."""

    site: str
    dealing_hash: bytes


@dataclass(frozen=True)
class MaskRequest:
    """MASK, to a site: the model that is used, who shared (U1), and what they dealt to it.

    Each step of one keying brings `dealt`: a site that missed the first has not opened it.
    """

    keying: bytes
    step: int
    model_hash: bytes
    sharers: tuple[Sharer, ...]
    dealt: tuple[Dealt, ...]


@dataclass(frozen=True)
class Uploaded:
    """A site's signed hash of its masked vector, and what it publishes with it (see Advert)."""

    site: str
    y_hash: bytes
    note: bytes | None
    signature: bytes


@dataclass(frozen=True)
class Upload:
    """MASK, from a site: the masked vector as little-endian words, and its signed hash."""

    vector: bytes | memoryview
    uploaded: Uploaded


@dataclass(frozen=True)
class ConfirmRequest:
    """CONFIRM, to a site: every upload that arrived (U2)."""

    ctx: bytes
    uploads: tuple[Uploaded, ...]


@dataclass(frozen=True)
class Confirmation:
    """CONFIRM, from a site: its signature over R2; also passed on in UNMASK."""

    site: str
    signature: bytes


@dataclass(frozen=True)
class UnmaskRequest:
    """UNMASK, to a site: the confirmations that arrived."""

    ctx: bytes
    confirmations: tuple[Confirmation, ...]


@dataclass(frozen=True)
class Share:
    """One share of one site's secret."""

    site: str
    share: bytes = field(repr=False)


@dataclass(frozen=True)
class Reveal:
    """UNMASK, from a site: shares of b of contributors, of s of the missing; signed."""

    site: str
    b_shares: tuple[Share, ...]
    s_shares: tuple[Share, ...]
    signature: bytes


@dataclass(frozen=True)
class Refusal:
    """From a site at any stage, in place of a reply: whom it accuses, and of what."""

    site: str
    accused: str
    reason: str


@dataclass(frozen=True)
class Pair:
    """Two messages in one: the next round's ADVERTISE or SHARE rides on CONFIRM or UNMASK."""

    first: bytes
    second: bytes


_STEPS = many(struct(StepKeys, KEY, HASH), MOST_STEPS)
ADVERT = struct(Advert, NAME, KEY, _STEPS, optional(NOTE), SIGNATURE)
_COMMITMENTS = many(struct(Commitments, HASH, HASH, HASH), MOST_STEPS)
ITEM = struct(Item, NAME, SEALED_SHARES, many(SEALED_KEY, MOST_STEPS), _COMMITMENTS)
_DEALT = struct(Dealt, NAME, ITEM, many_fixed(32, MOST_SITES), SIGNATURE)
_SHARER = struct(Sharer, NAME, HASH)
UPLOADED = struct(Uploaded, NAME, HASH, optional(NOTE), SIGNATURE)
_CONFIRMATION = struct(Confirmation, NAME, SIGNATURE)
_SHARES = many(struct(Share, NAME, SECRET), MOST_SITES)

FORMS: dict[type, tuple[int, Codec[object]]] = {
    cls: (tag, form)  # type: ignore[misc]
    for tag, (cls, form) in enumerate(
        [
            (AdvertiseRequest, struct(AdvertiseRequest, CONTEXT)),
            (Advert, ADVERT),
            (ShareRequest, struct(ShareRequest, HASH, many(ADVERT, MOST_SITES))),
            (Dealing, struct(Dealing, NAME, many(ITEM, MOST_SITES), SIGNATURE)),
            (
                MaskRequest,
                struct(
                    MaskRequest,
                    HASH,
                    U16,
                    HASH,
                    many(_SHARER, MOST_SITES),
                    many(_DEALT, MOST_SITES),
                ),
            ),
            (Upload, struct(Upload, VECTOR, UPLOADED)),
            (ConfirmRequest, struct(ConfirmRequest, HASH, many(UPLOADED, MOST_SITES))),
            (Confirmation, _CONFIRMATION),
            (UnmaskRequest, struct(UnmaskRequest, HASH, many(_CONFIRMATION, MOST_SITES))),
            (Reveal, struct(Reveal, NAME, _SHARES, _SHARES, SIGNATURE)),
            (Refusal, struct(Refusal, NAME, NAME, text(512))),
            (Pair, struct(Pair, blob(1 << 28), blob(1 << 28))),
        ],
        start=1,
    )
}


def encode(message: object) -> bytes:
    """Return the one binary form of a message."""
    tag, form = FORMS[type(message)]
    return b"".join([MAGIC, bytes([tag]), *form.pieces(message)])


def decode(cls: type[M], data: bytes | memoryview, sender: str) -> M:
    """Return the message of type `cls` that `data` encodes.

    Args:
        cls: the type that the stage expects.
        data: what came.
        sender: who sent it, for the blame.

    Raises:
        PeerMisbehaved: for any other type, length or form.
    """
    tag, form = FORMS[cls]
    head = bytes(data[: len(MAGIC) + 1])
    if head != MAGIC + bytes([tag]):
        raise PeerMisbehaved(sender, f"expected {cls.__name__}, got another message")
    try:
        message = form.load(data, len(head))
    except ProtocolError as error:
        raise PeerMisbehaved(sender, f"malformed {cls.__name__}: {error}") from error
    return message  # type: ignore[return-value]


def is_refusal(data: bytes) -> bool:
    """Return whether these bytes claim to be a Refusal."""
    return data[: len(MAGIC) + 1] == MAGIC + bytes([FORMS[Refusal][0]])
