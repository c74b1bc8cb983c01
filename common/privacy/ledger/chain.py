"""The hash chain over a ledger's entries."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from common.errors import LedgerError

START = bytes(32)
"""What the first entry extends."""


@dataclass(frozen=True)
class Head:
    """The last entry's number and hash: whoever keeps it can tell an older copy.

    Args:
        seq: number of entries.
        digest: hash of the last entry, 64 hexadecimal digits.
    """

    seq: int
    digest: str


@dataclass(frozen=True)
class Entry:
    """One line of the ledger.

    Args:
        seq: 1, 2, 3, …
        kind: "genesis", "open", "reserve" or "commit".
        body: what the kind holds, plain JSON.
        prev: hash of the entry before; zeros for the first.
        digest: SHA-256 over all of the above.
    """

    seq: int
    kind: str
    body: dict[str, Any]
    prev: bytes
    digest: bytes

    @property
    def head(self) -> Head:
        """Return the head of a ledger that ends here."""
        return Head(self.seq, self.digest.hex())


def canonical(body: dict[str, Any]) -> str:
    """Return the one JSON text of a body: what is stored is what is hashed."""
    return json.dumps(
        body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def entry_hash(seq: int, kind: str, text: str, prev: bytes) -> bytes:
    """Return SHA-256 over purpose, number, kind and body, each with its length, and `prev`."""
    digest = hashlib.sha256(b"tacit ledger entry v1")
    for part in (seq.to_bytes(8, "big"), kind.encode(), text.encode(), prev):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def next_entry(head: Head, kind: str, body: dict[str, Any]) -> Entry:
    """Return the entry that extends `head`."""
    seq, prev = head.seq + 1, bytes.fromhex(head.digest)
    return Entry(seq, kind, body, prev, entry_hash(seq, kind, canonical(body), prev))


def checked_entry(head: Head, row: tuple[Any, ...]) -> Entry:
    """Return the entry of a row (seq, kind, body, prev, hash), if it extends `head`.

    Raises:
        LedgerError: it does not; the entry's number is named.
    """
    seq, kind, text, prev, digest = row
    if seq != head.seq + 1:
        raise LedgerError(
            f"ledger: entry {head.seq + 1} is missing; found entry {seq} instead", head.seq + 1
        )
    if prev.hex() != head.digest:
        raise LedgerError(f"ledger: entry {seq} does not extend entry {head.seq}", seq)
    if entry_hash(seq, kind, text, prev) != digest:
        raise LedgerError(
            f"ledger: entry {seq} was altered: its hash does not fit its content", seq
        )
    try:
        body = json.loads(text)
    except ValueError:
        raise LedgerError(f"ledger: entry {seq} is not JSON", seq) from None
    if not isinstance(body, dict):
        raise LedgerError(f"ledger: entry {seq} is not an object", seq)
    return Entry(seq, kind, body, prev, digest)
