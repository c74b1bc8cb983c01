"""Heads that go between sites: one's own, signed, and those of peers, countersigned and kept."""

from pathlib import Path

from client.budget.places import look
from client.budget.verifying import HEADS
from client.folder import SiteFolder
from common.errors import LedgerError
from common.heads import (
    KeptHead,
    SignedHead,
    check_later,
    check_signatures,
    countersign,
    newest,
    read_heads,
    sign_head,
    write_heads,
)
from common.keys import read_identity, read_roster
from common.secagg.channel import Identity
from common.secagg.roster import Roster


def signed_head(site: SiteFolder, at: str) -> SignedHead:
    """Return the head of a site's ledger in the site's name.

    Raises:
        LedgerError: there is no ledger yet, or it cannot be trusted.
    """
    view = look(site)
    if view is None or not view.site:
        raise LedgerError(f"{site.ledger}: there is no ledger yet; it is founded in a round")
    identity = read_identity(site.identity, site.name)
    return sign_head(identity, view.replay.ledger_id, view.head, at)


def countersign_file(site: SiteFolder, path: Path) -> tuple[KeptHead, ...]:
    """Countersign the heads of other sites in a file, and keep all of them in the site's folder.

    Raises:
        LedgerError: a head is not its site's, or older than one that was countersigned before.
    """
    identity, roster, own = (
        read_identity(site.identity, site.name),
        read_roster(site.roster),
        kept(site),
    )
    signed = tuple(_signed(identity, head, own.get(head.site), roster) for head in read_heads(path))
    write_heads(site.root / HEADS, newest((*own.values(), *signed)).values())
    write_heads(path, signed)
    return signed


def _signed(identity: Identity, head: KeptHead, seen: KeptHead | None, roster: Roster) -> KeptHead:
    """Return another's head, countersigned; or one's own, or a round's, if all signatures hold."""
    if head.site != identity.name and isinstance(head, SignedHead):
        return countersign(identity, head, seen, roster)
    check_signatures(head, roster)
    if seen is not None and head.site != identity.name:
        check_later(seen, head)
    return head


def kept(site: SiteFolder) -> dict[str, KeptHead]:
    """Return the newest head of each site that this one keeps."""
    path = site.root / HEADS
    return newest(read_heads(path)) if path.is_file() else {}
