"""A whole study on this machine: throw-away sites, a run through any engine, its result."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.app import app as client_app
from client.session import session
from common.budget import resolved
from common.config import Study
from common.errors import ConfigError, ExitCode, TacitError
from common.keys import read_roster
from common.refusals import REFUSALS
from common.settings import to_yaml
from common.sums import parameters_of
from server.app import app as server_app
from server.checkpoint import CHECKPOINT, new_folder, read_checkpoint
from server.following import ERROR, Follower, Watch, progress, said
from simulations.federation import Tap, run_in_process
from simulations.flower import run_with_flower
from simulations.sites import prepare_federation
from simulations.supernodes import run_over_supernodes

ENGINES = ("flwr", "in-process", "supernodes")
_MOST_REASONS = 3


@dataclass(frozen=True)
class RunFolder:
    """Where a run leaves what it found.

    Args:
        root: holds study.yaml, progress.jsonl, checkpoint.safetensors, model.safetensors,
            federation/ (the throw-away sites with their ledgers) and report.html.
    """

    root: Path

    @property
    def study(self) -> Path:
        """The study in full, with its noise multiplier."""
        return self.root / "study.yaml"

    @property
    def model(self) -> Path:
        """The finished model."""
        return self.root / "model.safetensors"

    @property
    def federation(self) -> Path:
        """The throw-away sites."""
        return self.root / "federation"

    def progress(self) -> list[dict[str, Any]]:
        """Everything that was reported so far; a line still being written is left out."""
        return progress(self.root)


def simulate(
    study: Study,
    data: Path,
    out: Path,
    engine: str = "in-process",
    *,
    reproducible: bool = False,
    watch: Watch = lambda _line: None,
    tap: Tap | None = None,
) -> RunFolder:
    """Run a study over the sites found in a folder of recordings.

    Args:
        study: what to run.
        data: holds sites/NAME/manifest.csv (or .parquet).
        out: the run's folder; must be new or empty.
        engine: "flwr" (Flower's own simulation), "in-process", or "supernodes" (Flower's
            deployment engine: a SuperNode a site, on this machine).
        reproducible: draw private noise from the study's seed too, so that equal seeds give
            equal runs; such a run protects nobody. Without privacy runs always repeat.
        watch: gets each line of progress once.
        tap: in-process only: sees every message that crosses.

    Raises:
        TacitError: whatever ended the run, with its own type.
    """
    _check_engine(engine)
    new_folder(out)
    run = RunFolder(out)
    repeatable = reproducible or study.privacy.mode == "none"
    seed = study.seed if repeatable else None
    federation = prepare_federation(study, data, run.federation, seed)
    study = resolved(study, len(federation.sites), parameters_of(study))
    run.study.write_text(to_yaml(study), encoding="utf-8")
    _play(run, engine, Follower(run.root, watch), tap)
    return run


def resume(
    root: Path,
    engine: str = "in-process",
    *,
    watch: Watch = lambda _line: None,
    tap: Tap | None = None,
) -> RunFolder:
    """Go on with a run that broke off, from its last checkpoint.

    Guarantees: a run without privacy, or a reproducible one, ends with the very model that it
    would have ended with unbroken, if the same sites take part.

    Args:
        root: the run's folder.
        engine: as for `simulate`; need not be the one that the run began with.
        watch: gets each new line of progress once.
        tap: as for `simulate`.

    Raises:
        ConfigError: the folder holds no run that can be taken up.
        TacitError: whatever ended the run, with its own type.
    """
    _check_engine(engine)
    run = RunFolder(root)
    read_checkpoint(root / CHECKPOINT)
    (root / ERROR).unlink(missing_ok=True)
    _play(run, engine, Follower(root, watch, is_resumed=True), tap, resume=True)
    return run


def _play(
    run: RunFolder, engine: str, follow: Follower, tap: Tap | None, *, resume: bool = False
) -> None:
    sites = len(site_names(run))
    config: dict[str, bool | float | str] = {
        "study": str(run.study.absolute()),
        "federation": str(run.federation.absolute()),
        "run-dir": str(run.root.absolute()),
        "resume": resume,
    }
    try:
        if engine == "flwr":
            run_with_flower(sites, config, follow)
        elif engine == "supernodes":
            run_over_supernodes(sites, config, follow)
        else:
            session.cache_clear()
            run_in_process(server_app, client_app, sites, config, tap, follow)
    except TacitError:
        _raise_said(run)
        raise
    finally:
        follow()


def _check_engine(engine: str) -> None:
    if engine not in ENGINES:
        raise ConfigError(f"engine is {engine!r}; expected one of {', '.join(ENGINES)}.")


def site_names(run: RunFolder) -> tuple[str, ...]:
    """The sites of a run, in order."""
    return tuple(read_roster(run.federation / "roster.json"))


def _raise_said(run: RunFolder) -> None:
    """Raise what the ServerApp said when it failed, with what the sites' own logs say of it."""
    reasons = refusals(run)
    error = said(run.root, [f"{one.site} says: {one.reason}" for one in reasons[:_MOST_REASONS]])
    if error is None:
        return
    if error.exit_code == ExitCode.FAILED and reasons:
        error.exit_code = REFUSALS[reasons[0].word].error.exit_code
    raise error from None


@dataclass(frozen=True)
class Refusal:
    """Why a site refused, from its own log; only a simulation may read it."""

    site: str
    word: str
    reason: str


def refusals(run: RunFolder) -> tuple[Refusal, ...]:
    """The reason of each site that refused something, each reason once."""
    found: dict[str, Refusal] = {}
    for path in sorted(run.federation.glob("sites/*/site.log")):
        for text in path.read_text(encoding="utf-8").splitlines():
            line = _refused(text)
            if line is not None:
                one = Refusal(path.parent.name, str(line["word"]), str(line["reason"]))
                found.setdefault(one.reason, one)
    return tuple(found.values())


def _refused(text: str) -> dict[str, Any] | None:
    """A line of a site's log that says a refusal; None for others, and for one that was cut off."""
    try:
        line = dict(json.loads(text))
    except ValueError:
        return None
    return line if line.get("event") == "refused" else None
