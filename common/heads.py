"""Ledger heads that somebody keeps: what an older copy of a ledger is told by.

A head is signed by its site and countersigned by peers: by hand (SignedHead), or in the course of
a round (common.witness), where the coordinator keeps it.

Whoever keeps a site's signed head can hold the site's ledger to it. A peer's countersignature
says: "I saw this head, and none later of that site". So an administrator who rewrites the
ledger would need the keys of every peer that countersigned.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from common.errors import LedgerError
from common.privacy.ledger.chain import Head
from common.secagg.channel import Identity
from common.secagg.roster import Roster
from common.witness import Witness, WitnessedHead, witness_from, witness_to

FORMAT = "tacit ledger heads"
VERSION = 1
_MOST = 1 << 63
_HEAD = "ledger head v1"
_COUNTER = "ledger head countersigned v1"


@dataclass(frozen=True)
class Countersignature:
    """A peer's word that it saw a head.

    Args:
        site: the peer.
        signature: Ed25519, 128 hexadecimal digits.
    """

    site: str
    signature: str


@dataclass(frozen=True)
class SignedHead:
    """A head in its site's name.

    Args:
        site: whose ledger.
        ledger: the ledger's own number, drawn when it was founded.
        seq: number of entries.
        digest: hash of the last entry, 64 hexadecimal digits.
        at: when it was signed, UTC.
        signature: the site's, Ed25519, 128 hexadecimal digits.
        countersignatures: of peers that saw it.
    """

    site: str
    ledger: str
    seq: int
    digest: str
    at: str
    signature: str
    countersignatures: tuple[Countersignature, ...] = ()

    @property
    def head(self) -> Head:
        """The head as a ledger knows it."""
        return Head(self.seq, self.digest)


KeptHead: TypeAlias = SignedHead | WitnessedHead


def sign_head(identity: Identity, ledger: str, head: Head, at: str) -> SignedHead:
    """Sign a head of one's own ledger."""
    unsigned = SignedHead(identity.name, ledger, head.seq, head.digest, at, "")
    return replace(unsigned, signature=identity.sign(_HEAD, *_parts(unsigned)).hex())


def countersign(
    identity: Identity, signed: SignedHead, seen: KeptHead | None, roster: Roster
) -> SignedHead:
    """Add a peer's signature to another site's head.

    Args:
        identity: the peer's.
        signed: what the other site shows.
        seen: the last head of that site which this peer countersigned, if any.
        roster: public keys that the peer has pinned.

    Raises:
        LedgerError: the signature is not the site's, the head is the peer's own, or it is older
            than `seen` or contradicts it.
    """
    check_signatures(signed, roster)
    if signed.site == identity.name:
        raise LedgerError(f"{signed.site} cannot countersign a head of its own; a peer has to")
    if seen is not None:
        check_later(seen, signed)
    others = tuple(one for one in signed.countersignatures if one.site != identity.name)
    mine = Countersignature(identity.name, identity.sign(_COUNTER, *_parts(signed)).hex())
    return replace(signed, countersignatures=(*others, mine))


def check_signatures(signed: KeptHead, roster: Roster) -> tuple[str, ...]:
    """Check a head's signature and every countersignature on it.

    Returns:
        the peers that countersigned it.

    Raises:
        LedgerError: a signature is wrong, or a signer is not in the roster.
    """
    if isinstance(signed, WitnessedHead):
        return tuple(name for name in signed.witness.signers(roster) if name != signed.site)
    _check(signed.site, signed.signature, _HEAD, signed, roster)
    for one in signed.countersignatures:
        _check(one.site, one.signature, _COUNTER, signed, roster)
    return tuple(sorted({one.site for one in signed.countersignatures} - {signed.site}))


def check_later(seen: KeptHead, shown: KeptHead) -> None:
    """Hold a head to one that was seen before.

    Raises:
        LedgerError: it is older, or contradicts it.
    """
    ledgers = {one.ledger for one in (seen, shown) if isinstance(one, SignedHead)}
    same = seen.head == shown.head and len(ledgers) < 2
    if not same and (shown.seq <= seen.seq or len(ledgers) > 1):
        raise LedgerError(
            f"{shown.site} shows entry {shown.seq} ({shown.digest[:16]}…) where entry "
            f"{seen.seq} ({seen.digest[:16]}…) was countersigned before: its ledger was put back "
            "or replaced; ask that site to restore the newest copy"
        )


def write_heads(path: Path, heads: Iterable[KeptHead]) -> None:
    """Write heads to a file that others may read."""
    path.write_text(heads_to_json(heads), encoding="utf-8")


def heads_to_json(heads: Iterable[KeptHead]) -> str:
    """Return heads as the text of a file; those of one round stand together."""
    signed: list[dict[str, Any]] = []
    rounds: dict[bytes, Witness] = {}
    for head in heads:
        if isinstance(head, WitnessedHead):
            rounds[head.witness.signed.ctx] = head.witness
        else:
            signed.append(asdict(head))
    content: dict[str, Any] = {"format": FORMAT, "version": VERSION, "heads": signed}
    if rounds:
        content["rounds"] = [witness_to(one) for one in rounds.values()]
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def read_heads(path: Path) -> tuple[KeptHead, ...]:
    """Read heads from a file; their signatures are not checked yet.

    Raises:
        LedgerError: missing, or not a file of heads.
    """
    try:
        return heads_from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerError(f"{path} cannot be read: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerError(f"{path} is not a file of ledger heads: {error}") from None


def heads_from_json(text: str) -> tuple[KeptHead, ...]:
    """Read heads from text.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: the text does not hold heads.
    """
    content = json.loads(text)
    if (content["format"], content["version"]) != (FORMAT, VERSION):
        raise ValueError(f"expected {FORMAT!r} version {VERSION}")
    signed = [_head(record) for record in content["heads"]]
    rounds = [witness_from(record) for record in content.get("rounds", ())]
    return (*signed, *(head for witness in rounds for head in witness.heads()))


def newest(heads: Iterable[KeptHead]) -> dict[str, KeptHead]:
    """Return the latest head of each site; of two with one number, the first that is given."""
    found: dict[str, KeptHead] = {}
    for head in heads:
        if head.site not in found or head.seq > found[head.site].seq:
            found[head.site] = head
    return found


def _head(record: Mapping[str, Any]) -> SignedHead:
    counter = tuple(
        Countersignature(str(one["site"]), str(one["signature"]))
        for one in record["countersignatures"]
    )
    texts = {name: str(record[name]) for name in ("site", "ledger", "digest", "at", "signature")}
    seq = record["seq"]
    if isinstance(seq, bool) or not isinstance(seq, int) or not 0 <= seq < _MOST:
        raise ValueError(f"seq is {seq!r}; expected a whole number")
    bytes.fromhex(texts["digest"])
    return SignedHead(seq=seq, countersignatures=counter, **texts)


def _parts(head: SignedHead) -> tuple[str | int, ...]:
    return head.site, head.ledger, head.seq, head.digest, head.at


def _check(site: str, signature: str, purpose: str, head: SignedHead, roster: Roster) -> None:
    if site not in roster:
        raise LedgerError(f"head {head.seq} of {head.site} is signed by {site!r}, who is unknown")
    try:
        raw = bytes.fromhex(signature)
    except ValueError:
        raw = b""
    if not roster.signed(site, raw, purpose, *_parts(head)):
        raise LedgerError(f"head {head.seq} of {head.site}: the signature of {site} is wrong")
