"""A site's states, one type per stage; each can be stored and taken up by another process.

Advertised → Shared → (Keyed →) Masked → Confirmed → Finished. Keyed stands between the
rounds that were keyed at once. Dumps hold secrets, all but that of Finished: they stay at
the site and are overwritten by the next one.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from common.errors import OutOfOrder, ProtocolError
from common.secagg.codec import (
    HASH,
    MOST_SITES,
    NAME,
    SECRET,
    U8,
    U16,
    U32,
    Codec,
    many,
    optional,
    struct,
)
from common.secagg.messages import ADVERT, MOST_STEPS, NOTE, Advert, Share, Sharer
from common.secagg.roster import CONTEXT, Context


@dataclass(frozen=True)
class StepSecrets:
    """A site's own two secrets for one step: s makes the pair keys, b the self mask."""

    s: bytes = field(repr=False)
    b: bytes = field(repr=False)


@dataclass(frozen=True)
class HeldShares:
    """What a site holds of one dealer's secrets for one step."""

    site: str
    b: bytes = field(repr=False)
    s: bytes = field(repr=False)


@dataclass(frozen=True)
class StepKeying:
    """All that a site needs for one keyed step; s itself is gone."""

    b: bytes = field(repr=False)
    pairs: tuple[Share, ...] = field(repr=False)
    held: tuple[HeldShares, ...] = field(repr=False)


@dataclass(frozen=True)
class Noted:
    """A note of a site: the newest that was kept of a peer, or the one that came with its keys."""

    site: str
    note: bytes


@dataclass(frozen=True)
class Advertised:
    """The site has sent its keys; `seen` is what it had kept of its peers by then."""

    context: Context
    channel_secret: bytes = field(repr=False)
    secrets: tuple[StepSecrets, ...] = field(repr=False)
    advert: Advert
    seen: tuple[Noted, ...]


@dataclass(frozen=True)
class Shared:
    """The site has dealt shares of its secrets to the cohort U0; `notes` came with its keys."""

    context: Context
    channel_secret: bytes = field(repr=False)
    secrets: tuple[StepSecrets, ...] = field(repr=False)
    r0: bytes
    cohort: tuple[str, ...]
    own: tuple[HeldShares, ...] = field(repr=False)
    dealing_hash: bytes
    notes: tuple[Noted, ...]


@dataclass(frozen=True)
class Keyed:
    """The site has opened what was dealt to it; `steps` are those not used yet."""

    context: Context
    r0: bytes
    cohort: tuple[str, ...]
    sharers: tuple[Sharer, ...]
    step: int
    steps: tuple[StepKeying, ...] = field(repr=False)
    notes: tuple[Noted, ...]


@dataclass(frozen=True)
class Masked:
    """The site has sent its masked vector for one step; the mask keys are gone."""

    context: Context
    step: int
    model_hash: bytes
    ctx: bytes
    r1: bytes
    y_hash: bytes
    cohort_size: int
    sharers: tuple[str, ...]
    held: tuple[HeldShares, ...] = field(repr=False)
    notes: tuple[Noted, ...]
    rest: Keyed | None


@dataclass(frozen=True)
class Confirmed:
    """The site has signed the list of uploads U2, and joins no other attempt on this model."""

    context: Context
    step: int
    ctx: bytes
    r2: bytes
    cohort_size: int
    sharers: tuple[str, ...]
    uploaders: tuple[str, ...]
    held: tuple[HeldShares, ...] = field(repr=False)
    rest: Keyed | None


@dataclass(frozen=True)
class Finished:
    """The site has answered UNMASK; it holds no secret."""

    context: Context
    step: int


State: TypeAlias = Advertised | Shared | Keyed | Masked | Confirmed | Finished

_NAMES = many(NAME, MOST_SITES)
_SECRETS = many(struct(StepSecrets, SECRET, SECRET), MOST_STEPS)
_HELD = many(struct(HeldShares, NAME, SECRET, SECRET), MOST_SITES)
_NOTED = many(struct(Noted, NAME, NOTE), MOST_SITES)
_PAIRS = many(struct(Share, NAME, SECRET), MOST_SITES)
_SHARERS = many(struct(Sharer, NAME, HASH), MOST_SITES)
_STEPS = many(struct(StepKeying, SECRET, _PAIRS, _HELD), MOST_STEPS)
_KEYED = struct(Keyed, CONTEXT, HASH, _NAMES, _SHARERS, U16, _STEPS, _NOTED)

FORMS: tuple[tuple[type, Codec[State]], ...] = (
    (Advertised, struct(Advertised, CONTEXT, SECRET, _SECRETS, ADVERT, _NOTED)),
    (Shared, struct(Shared, CONTEXT, SECRET, _SECRETS, HASH, _NAMES, _HELD, HASH, _NOTED)),
    (Keyed, _KEYED),
    (
        Masked,
        struct(
            Masked,
            CONTEXT,
            U16,
            HASH,
            HASH,
            HASH,
            HASH,
            U32,
            _NAMES,
            _HELD,
            _NOTED,
            optional(_KEYED),
        ),
    ),
    (
        Confirmed,
        struct(Confirmed, CONTEXT, U16, HASH, HASH, U32, _NAMES, _NAMES, _HELD, optional(_KEYED)),
    ),
    (Finished, struct(Finished, CONTEXT, U16)),
)  # type: ignore[assignment]


def dump(state: State) -> bytes:
    """Return the bytes of a state, for the site's own store."""
    for tag, (cls, form) in enumerate(FORMS):
        if type(state) is cls:
            return U8.dump(tag) + form.dump(state)
    raise ProtocolError(f"{type(state).__name__} is no state of a site")


def load(data: bytes) -> State:
    """Return the state that `dump` gave these bytes for; raises OutOfOrder when none did."""
    if not data or data[0] >= len(FORMS):
        raise OutOfOrder("expected the stored state of a round, found none that can be read")
    try:
        return FORMS[data[0]][1].load(data[1:])
    except ProtocolError as error:
        raise OutOfOrder(f"the stored state of a round is damaged: {error}") from error
