"""Over which sites a sum was last confirmed: one that broke off is made again over these only.

A site never confirms two sets of sites over one model. So the set is on disk before CONFIRM is
asked for, and a coordinator that comes back asks the very same sites.
"""

import json
from collections.abc import Collection
from pathlib import Path

from common.errors import ConfigError
from common.files import write_atomically
from common.secagg.checks import COORDINATOR
from common.secagg.messages import ConfirmRequest, Pair, decode
from common.secagg.riding import CONFIRM_ADVERTISE

CONFIRMING = "confirming.json"


class Confirming:
    """The newest set of each task, in a file of the run's folder.

    Args:
        folder: of the run; None keeps it in memory.

    Raises:
        ConfigError: the file is damaged.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._path = folder / CONFIRMING if folder is not None else None
        self._newest: dict[str, tuple[int, tuple[str, ...]]] = {}
        if self._path is not None and self._path.exists():
            self._newest = _read(self._path)

    def sites(self, task: str, number: int) -> tuple[str, ...]:
        """The sites over which that sum was asked to be confirmed; none where it was not."""
        found, sites = self._newest.get(task, (-1, ()))
        return sites if found == number else ()

    def keep(self, task: str, number: int, sites: Collection[str]) -> None:
        """Keep a set; durable when it returns.

        Raises:
            EnvironmentFault: the disk is full or the folder cannot be written.
        """
        self._newest[task] = number, tuple(sorted(sites))
        if self._path is not None:
            write_atomically(self._path, json.dumps(self._newest).encode())


def confirmed_by(stage: str, body: bytes) -> tuple[str, ...]:
    """The contributors that a request to confirm lists; none where it asks for keys alone."""
    asked = decode(Pair, body, COORDINATOR).first if stage == CONFIRM_ADVERTISE else body
    if not asked:
        return ()
    return tuple(one.site for one in decode(ConfirmRequest, asked, COORDINATOR).uploads)


def _read(path: Path) -> dict[str, tuple[int, tuple[str, ...]]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {
            task: (int(number), tuple(map(str, sites))) for task, (number, sites) in found.items()
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} is damaged: it says which sites a sum needs. Put back the copy that the run "
            "wrote; if there is none, start a new run."
        ) from error
