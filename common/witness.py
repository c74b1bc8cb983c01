"""Ledger heads that travel with the rounds: signed by their sites, countersigned by all who shared.

A site publishes its ledger's head as the note of its advert. R0 is the hash of all adverts, and
every SHARE is signed over R0: so each sharer has signed that it saw every head, and had seen none
that was newer or other. Whoever keeps adverts and those signatures can show a head to anybody who
has the roster, without trust in the one who kept them.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import LedgerError
from common.privacy.ledger.chain import Head
from common.secagg import transcript
from common.secagg.messages import ADVERT, NOTE_BYTES, Advert
from common.secagg.recovery import Keying
from common.secagg.roster import Roster

_NUMBER_BYTES = 8


def note_of(head: Head) -> bytes:
    """Return a head as a note: its entry's number, then the hash."""
    return head.seq.to_bytes(_NUMBER_BYTES, "big") + bytes.fromhex(head.digest)


def head_of(note: bytes) -> Head:
    """Return the head that a note stands for."""
    return Head(int.from_bytes(note[:_NUMBER_BYTES], "big"), note[_NUMBER_BYTES:].hex())


def why_not(before: bytes | None, after: bytes | None) -> str:
    """Return why a site's head cannot follow the last one that was seen; empty where it can.

    Whether a longer ledger really holds the older head cannot be seen from the two alone;
    `tacit budget verify --heads` sees it.
    """
    if after is None or len(after) != NOTE_BYTES:
        return "shows no head of its ledger"
    if before is None:
        return ""
    kept, shown = head_of(before), head_of(after)
    if shown.seq < kept.seq:
        return f"its ledger went back: it ends at entry {shown.seq}, entry {kept.seq} was seen"
    if shown.seq == kept.seq and shown.digest != kept.digest:
        return f"its ledger contradicts itself: entry {kept.seq} was another when it was seen"
    return ""


@dataclass(frozen=True)
class Shared:
    """What a site signed in SHARE: the hashes of the items that it dealt."""

    site: str
    item_hashes: tuple[bytes, ...]
    signature: bytes


@dataclass(frozen=True)
class Witness:
    """One keying's adverts, and the signatures of those who shared over them.

    Args:
        keying: the hash of what was keyed.
        adverts: of all who advertised, ascending; each with its site's head.
        shared: of all who shared.
    """

    keying: bytes
    adverts: tuple[Advert, ...]
    shared: tuple[Shared, ...]

    def heads(self) -> tuple["WitnessedHead", ...]:
        """Return the heads that were shown."""
        shown = [(one.site, head_of(one.note)) for one in self.adverts if one.note is not None]
        return tuple(WitnessedHead(site, head.seq, head.digest, self) for site, head in shown)

    def signers(self, roster: Roster) -> tuple[str, ...]:
        """Return who countersigned.

        Raises:
            LedgerError: a signature is wrong, or a signer is not in the roster.
        """
        r0 = transcript.r0(self.keying, self.adverts)
        for advert in self.adverts:
            parts = transcript.advert_parts(self.keying, advert)
            if not roster.signed(advert.site, advert.signature, "advert", *parts):
                raise LedgerError(f"the head of {advert.site} in a round is not signed by it")
        for one in self.shared:
            hashed = transcript.dealing_hash(self.keying, r0, one.site, one.item_hashes)
            if not roster.signed(one.site, one.signature, "dealing", hashed):
                raise LedgerError(f"the heads of a round: the signature of {one.site} is wrong")
        return tuple(sorted({one.site for one in self.shared}))


@dataclass(frozen=True)
class WitnessedHead:
    """A head that a round carried.

    Args:
        site: whose ledger.
        seq: number of entries.
        digest: hash of the last entry, 64 hexadecimal digits.
        witness: the round's signatures.
    """

    site: str
    seq: int
    digest: str
    witness: Witness

    @property
    def head(self) -> Head:
        """The head as a ledger knows it."""
        return Head(self.seq, self.digest)


def witness_of(keying: Keying) -> Witness:
    """Return what a coordinator keeps of the heads of a keying."""
    adverts = tuple(keying.adverts[site] for site in sorted(keying.adverts))
    shared = tuple(
        Shared(site, keying.item_hashes(site), keying.dealings[site].signature)
        for site in keying.sharers
    )
    return Witness(keying.context.keying, adverts, shared)


def witness_to(witness: Witness) -> dict[str, Any]:
    """Return a witness as JSON values."""
    return {
        "keying": witness.keying.hex(),
        "adverts": [base64.b64encode(ADVERT.dump(one)).decode() for one in witness.adverts],
        "shared": [
            {
                "site": one.site,
                "items": [item.hex() for item in one.item_hashes],
                "signature": one.signature.hex(),
            }
            for one in witness.shared
        ],
    }


def witness_from(record: Mapping[str, Any]) -> Witness:
    """Return the witness that JSON values stand for.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, ProtocolError: they stand for none.
    """
    shared = tuple(
        Shared(
            str(one["site"]),
            tuple(bytes.fromhex(item) for item in one["items"]),
            bytes.fromhex(one["signature"]),
        )
        for one in record["shared"]
    )
    adverts = tuple(ADVERT.load(base64.b64decode(one)) for one in record["adverts"])
    return Witness(bytes.fromhex(record["keying"]), adverts, shared)
