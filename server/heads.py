"""The newest ledger head of each site, with the signatures of those that saw it.

A run's folder gets them as heads.json, which `tacit budget verify --heads` reads; the federation's
folder keeps them from run to run.
"""

from collections.abc import Sequence
from pathlib import Path

from common.files import write_atomically
from common.heads import KeptHead, heads_from_json, heads_to_json, newest, read_heads
from common.secagg.progress import Outcome
from common.witness import Witness, note_of, why_not

HEADS = "heads.json"


class Heads:
    """What a coordinator keeps of the sites' ledgers.

    Args:
        folders: each gets heads.json; what stands there already counts.
        kept: text of a heads file from elsewhere that counts too, such as a checkpoint's.

    Raises:
        LedgerError: a file that is there is none of heads.
    """

    def __init__(self, folders: Sequence[Path], kept: str = "") -> None:
        self._files = tuple(folder / HEADS for folder in folders)
        there = [path for path in self._files if path.is_file()]
        found = [head for path in there for head in read_heads(path)]
        found += heads_from_json(kept) if kept else ()
        self._newest: dict[str, KeptHead] = newest(found)
        self._seen = {site: note_of(head.head) for site, head in self._newest.items()}

    def follows(self, site: str, note: bytes | None) -> str:
        """Return why a site's head cannot follow the last one it showed; empty where it can.

        Every head that can is the last one from then on: so a head that came with keys binds the
        one that comes with the vector.
        """
        why = why_not(self._seen.get(site), note)
        if note is not None and not why:
            self._seen[site] = note
        return why

    def keep(self, outcome: Outcome) -> None:
        """Keep the heads that a sum's contributors showed, and who countersigned them.

        Raises:
            EnvironmentFault: the disk is full or a folder cannot be written.
        """
        self._newest = newest((*self._newest.values(), *Witness(outcome.signed).heads()))
        for path in self._files:
            write_atomically(path, self.text().encode())

    def text(self) -> str:
        """Return what is kept, as the text of a heads file."""
        return heads_to_json(self._newest.values())
