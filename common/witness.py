"""Ledger heads that travel with the rounds, signed by their sites, countersigned by peers.

A site publishes its ledger's head as a note: with its keys (before it is charged for what they are
for) and with its masked vector (after). The keys' notes are in R0, over which every SHARE is
signed; the vectors' in R2, over which every confirmation is. So each peer signs that it saw every
head, and it has kept them by then. Whoever keeps uploads and confirmations can show a head to
anybody who has the roster, without trust in the one who kept them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import LedgerError
from common.privacy.ledger.chain import Head
from common.secagg import transcript
from common.secagg.messages import NOTE_BYTES, Confirmation, Uploaded
from common.secagg.progress import Signed
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
class Witness:
    """The heads of one sum, and the signatures of those who confirmed it.

    Args:
        signed: uploads, each with its site's head, and confirmations over all of them.
    """

    signed: Signed

    def heads(self) -> tuple["WitnessedHead", ...]:
        """Return the heads that were shown."""
        noted = [(one.site, one.note) for one in self.signed.uploads if one.note is not None]
        heads = [(site, head_of(note)) for site, note in noted]
        return tuple(WitnessedHead(site, head.seq, head.digest, self) for site, head in heads)

    def signers(self, roster: Roster) -> tuple[str, ...]:
        """Return who countersigned.

        Raises:
            LedgerError: a signature is wrong, or a signer is not in the roster.
        """
        ctx, r1 = self.signed.ctx, self.signed.r1
        for one in self.signed.uploads:
            parts = transcript.upload_parts(ctx, r1, one)
            if not roster.signed(one.site, one.signature, "upload", *parts):
                raise LedgerError(f"the head of {one.site} in a round is not signed by it")
        r2 = transcript.r2(ctx, r1, self.signed.uploads)
        for peer in self.signed.confirmations:
            if not roster.signed(peer.site, peer.signature, "confirm", ctx, r2):
                raise LedgerError(f"the heads of a round: the signature of {peer.site} is wrong")
        return tuple(sorted({peer.site for peer in self.signed.confirmations}))


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


def witness_to(witness: Witness) -> dict[str, Any]:
    """Return a witness as JSON values."""
    signed = witness.signed
    return {
        "ctx": signed.ctx.hex(),
        "r1": signed.r1.hex(),
        "uploads": [
            {
                "site": one.site,
                "y_hash": one.y_hash.hex(),
                "note": None if one.note is None else one.note.hex(),
                "signature": one.signature.hex(),
            }
            for one in signed.uploads
        ],
        "confirmations": [
            {"site": one.site, "signature": one.signature.hex()} for one in signed.confirmations
        ],
    }


def witness_from(record: Mapping[str, Any]) -> Witness:
    """Return the witness that JSON values stand for.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: they stand for none.
    """
    uploads = tuple(_upload(one) for one in record["uploads"])
    confirmations = tuple(
        Confirmation(str(one["site"]), bytes.fromhex(one["signature"]))
        for one in record["confirmations"]
    )
    ctx, r1 = bytes.fromhex(record["ctx"]), bytes.fromhex(record["r1"])
    return Witness(Signed(ctx, r1, uploads, confirmations))


def _upload(record: Mapping[str, Any]) -> Uploaded:
    note = None if record["note"] is None else bytes.fromhex(record["note"])
    if note is not None and len(note) != NOTE_BYTES:
        raise ValueError(f"a head of {len(note)} bytes; expected {NOTE_BYTES}")
    y_hash, signature = bytes.fromhex(record["y_hash"]), bytes.fromhex(record["signature"])
    return Uploaded(str(record["site"]), y_hash, note, signature)
