"""What a site publishes of its ledger with its keys, and the heads of its peers that it keeps.

The file is replaced whole and synced, so that a crash leaves the old one or the new one. It holds
this site's own published head besides: a ledger that lacks it is never used again.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from common.errors import EnvironmentFault, LedgerError
from common.files import write_atomically
from common.privacy.ledger import Ledger
from common.secagg.messages import NOTE_BYTES
from common.witness import head_of, note_of, why_not


class LedgerNotes:
    """The protocol's Notes in one file of a site's folder, mode 0600.

    Args:
        path: the file; made when it is not there.
        site: whose notes they are.
        ledger: opens the site's ledger.

    Raises:
        EnvironmentFault: the disk is full or the file cannot be written.
        LedgerError: the file is damaged.
    """

    def __init__(self, path: Path, site: str, ledger: Callable[[], Ledger]) -> None:
        self._path = path
        self._site = site
        self._ledger = ledger

    def mine(self) -> bytes:
        """Return the head of the site's ledger.

        Raises:
            LedgerError: the ledger does not hold the head that this site published last.
        """
        ledger = self._ledger()
        head, before = ledger.head(), self.kept().get(self._site)
        if before is not None:
            ledger.require(head_of(before))
        return note_of(head)

    def kept(self) -> dict[str, bytes]:
        """Return the newest head that was kept of each site."""
        return kept_notes(self._path)

    def follows(self, before: bytes | None, after: bytes | None) -> str:
        """Return why a head cannot follow another; empty where it can."""
        return why_not(before, after)

    def keep(self, notes: Mapping[str, bytes]) -> None:
        """Keep the heads that are newer than those kept; atomic between processes."""
        with _alone(self._path.parent):
            kept = self.kept()
            newer = {site: n for site, n in notes.items() if _is_newer(n, kept.get(site))}
            if newer:
                write_atomically(self._path, _as_json({**kept, **newer}), private=True)


def kept_notes(path: Path) -> dict[str, bytes]:
    """Return the heads in a file, by site; none where there is no file.

    Raises:
        LedgerError: the file cannot be read, or holds something else.
    """
    try:
        found = {site: bytes.fromhex(note) for site, note in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise LedgerError(f"{path} holds no heads of ledgers; restore it: {error}") from None
    if any(len(note) != NOTE_BYTES for note in found.values()):
        raise LedgerError(f"{path} holds a head of the wrong length; restore it")
    return found


def _is_newer(note: bytes, before: bytes | None) -> bool:
    return before is None or head_of(note).seq > head_of(before).seq


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes of the site."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
    except OSError as error:
        raise EnvironmentFault(f"{folder} cannot be written: {error.strerror}.") from error


def _as_json(notes: Mapping[str, bytes]) -> bytes:
    text = json.dumps({site: notes[site].hex() for site in sorted(notes)}, ensure_ascii=False)
    return f"{text}\n".encode()
