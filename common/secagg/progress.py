"""What the coordinator knows between two stages, and how it sifts a stage's replies."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from common.errors import PeerMisbehaved, ProtocolError, TooFewSites
from common.secagg.masks import Words
from common.secagg.messages import (
    Advert,
    Confirmation,
    Refusal,
    Upload,
    Uploaded,
    decode,
    is_refusal,
)
from common.secagg.recovery import Keying, Step
from common.secagg.roster import Context, Policy

Requests = dict[str, bytes]
Replies = Mapping[str, bytes]
R = TypeVar("R")

Follows = Callable[[str, bytes | None], str]
"""Why a site's note cannot follow what is kept of that site; empty where it can."""


def anything(site: str, note: bytes | None) -> str:
    """Let every note pass."""
    del site, note
    return ""


@dataclass(frozen=True)
class Blame:
    """A site that was dropped, or accused by another, and why."""

    site: str
    reason: str


Blamed = tuple[Blame, ...]


@dataclass(frozen=True)
class Opened:
    """ADVERTISE was asked."""

    policy: Policy
    context: Context
    invited: tuple[str, ...]
    follows: Follows


@dataclass(frozen=True)
class Adverted:
    """SHARE was asked of U0."""

    policy: Policy
    context: Context
    adverts: Mapping[str, Advert]
    r0: bytes
    blamed: Blamed


@dataclass(frozen=True)
class Keyed:
    """U1 has shared; every keyed step starts from here."""

    keying: Keying
    blamed: Blamed


@dataclass(frozen=True)
class Masking:
    """MASK of one step was asked of U1."""

    step: Step
    blamed: Blamed


@dataclass(frozen=True)
class Confirming:
    """CONFIRM was asked of U2."""

    step: Step
    uploads: tuple[Upload, ...] = field(repr=False)
    blamed: Blamed


@dataclass(frozen=True)
class Unmasking:
    """UNMASK was asked of those that confirmed."""

    step: Step
    uploads: tuple[Upload, ...] = field(repr=False)
    confirmations: tuple[Confirmation, ...]
    blamed: Blamed

    @property
    def confirmed(self) -> tuple[str, ...]:
        """Who confirmed, ascending."""
        return tuple(one.site for one in self.confirmations)


@dataclass(frozen=True)
class Signed:
    """What the sites signed of one sum: their uploads, and the list of these (R2).

    Args:
        ctx: of the sum.
        r1: over who shared.
        uploads: of the contributors, ascending, each signed by its site.
        confirmations: signatures over all uploads.
    """

    ctx: bytes
    r1: bytes
    uploads: tuple[Uploaded, ...]
    confirmations: tuple[Confirmation, ...]


@dataclass(frozen=True)
class Outcome:
    """What a round yields.

    Args:
        words_W: the exact sum mod 2^64 of the contributors' vectors.
        contributors: whose vectors are in it, ascending.
        signed: what they signed of it.
        blamed: sites that were dropped for a wrong message, or accused, with the reason.
    """

    words_W: Words = field(repr=False)
    contributors: tuple[str, ...]
    signed: Signed = field(repr=False)
    blamed: Blamed


def sift(
    cls: type[R], replies: Replies, awaited: Collection[str], check: Callable[[str, R], None]
) -> tuple[dict[str, R], Blamed]:
    """Return the replies that pass the check, ascending by site, and who is to blame otherwise."""
    good: dict[str, R] = {}
    blamed: list[Blame] = []
    for site in sorted(replies):
        try:
            if site not in awaited:
                raise PeerMisbehaved(site, "replied without being asked")
            message = _read(cls, replies[site], site)
            check(site, message)
        except PeerMisbehaved as error:
            blamed.append(Blame(error.peer, error.reason))
        except ProtocolError as error:
            blamed.append(Blame(site, str(error)))
        else:
            good[site] = message
    return good, tuple(blamed)


def _read(cls: type[R], reply: bytes, site: str) -> R:
    """Return the reply; raises PeerMisbehaved for whom a Refusal accuses."""
    if is_refusal(reply):
        refusal = decode(Refusal, reply, site)
        raise PeerMisbehaved(refusal.accused, f"{site} refused: {refusal.reason}")
    message = decode(cls, reply, site)
    name = getattr(message, "site", site)
    if name != site:
        raise PeerMisbehaved(site, f"replied in the name of {name!r}")
    return message


def enough(stage: str, left: Collection[str], needed: int, blamed: Blamed) -> None:
    """Raise TooFewSites, with everything that is known of the reasons."""
    if len(left) < needed:
        why = because(blamed)
        raise TooFewSites(f"{stage}: expected {needed} sites, {len(left)} are left ({why})")


def because(blamed: Blamed) -> str:
    """Return who was dropped and why, for the text of an error."""
    return "; ".join(f"{one.site}: {one.reason}" for one in blamed) or "no reply from the rest"
