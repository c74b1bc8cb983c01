"""Runs that are kept: what has finished is not run again, so a broken-off call goes on."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from common.config import Study
from common.files import write_atomically
from common.settings import config_hash
from server.following import Watch
from simulations.crossval import Repeat, run_repeat
from simulations.sites import find_manifests

Following = Callable[[str, int], AbstractContextManager[Watch]]
"""Shows one run's progress; gets its title and its number of rounds."""


@dataclass(frozen=True)
class KeptRuns:
    """Runs over one folder of recordings.

    Args:
        data: holds sites/NAME/manifest.csv.
        out: gets a folder a run, and a file a finished one in points/; may hold an earlier call's.
        following: shows a run's progress.
        data_hash: of all manifests.
    """

    data: Path
    out: Path
    following: Following
    data_hash: str

    def repeat(self, group: str, name: str, study: Study) -> Repeat:
        """What a variant of a study reached: read where it was kept, run where it was not.

        Args:
            group: the folder of runs that belong together.
            name: of the variant within it.
            study: the variant.

        Guarantees: a run that finished is not run again, unless the study or a manifest changed.
        """
        path = self._point(group, name, study)
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            figures = found.get("figures", {})
            return Repeat(
                found["name"], found["uar"], found["weighted_f1"], found["persons"], figures
            )
        folder = next(one for one in _attempts(self.out / group, name) if not one.exists())
        title = f"{study.name} {group} {name}"
        with self.following(title, study.training.num_server_rounds) as watch:
            repeat = run_repeat(study, self.data, folder, name, watch)
        line = {"group": group, "folder": str(folder.relative_to(self.out)), **asdict(repeat)}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(line).encode())
        return repeat

    def _point(self, group: str, name: str, study: Study) -> Path:
        """Where a run is kept: by the study in full, the manifests, and which repeat it is."""
        parts = (group, name, config_hash(study).hex(), self.data_hash)
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return self.out / "points" / f"{key[:32]}.json"


def kept_runs(data: Path, out: Path, following: Following) -> KeptRuns:
    """The kept runs of a folder.

    Raises:
        ConfigError: there are no recordings.
    """
    digest = hashlib.sha256()
    for name, manifest in find_manifests(data).items():
        digest.update(name.encode() + hashlib.sha256(manifest.read_bytes()).digest())
    return KeptRuns(data, out, following, digest.hexdigest())


def _attempts(folder: Path, name: str) -> Iterator[Path]:
    """Where a run may go: a broken-off one leaves its folder behind."""
    plain = folder / name.replace(" ", "-")
    yield plain
    yield from (plain.with_name(f"{plain.name}-again-{number}") for number in count(1))
