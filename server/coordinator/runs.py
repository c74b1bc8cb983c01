"""`tacit coordinator run` and `resume`: submit a study, follow it."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from common.cards import read_coordinator_card
from common.config import Study
from common.errors import ConfigError, TooFewSites
from common.files import write_atomically
from server.checkpoint import CHECKPOINT, alone, new_folder, read_checkpoint
from server.coordinator.folder import CARD
from server.coordinator.nodes import START_TIMEOUT_S, command_line, register
from server.flwr_cli import RunConfig, RunFailed, play
from server.following import ERROR, Follower, Watch, said
from server.quorum import WAIT_S

ASKED = "asked.json"


@dataclass(frozen=True)
class Asked:
    """What a run was submitted with; kept in its folder, so that it can be taken up again.

    Args:
        study: name of a study that the sites know.
        settings: key=value pairs in which the run differs from it.
        wait_s: how long too few sites are waited for before the run stops.
    """

    study: str
    settings: tuple[str, ...] = ()
    wait_s: float = WAIT_S


def submit(root: Path, study: Study, asked: Asked, out: Path, watch: Watch) -> None:
    """Run a study over the enrolled sites and return when it has completed.

    Args:
        root: of the coordinator's folder; its SuperLink has to be running.
        study: to run, with the settings; its name must be one that the sites know.
        asked: the same, as sites and the coordinator's code are told of it.
        out: the run's folder; must be new or empty.
        watch: gets each line of progress once.

    Raises:
        ConfigError: the run's folder is taken.
        TooFewSites: fewer sites are enrolled than the study needs.
        TacitError: whatever ended the run, with its own type.
    """
    card = read_coordinator_card(root / CARD)
    fewest = study.secure_aggregation.min_sites
    if len(card.sites) < fewest:
        raise TooFewSites(f"{len(card.sites)} sites are enrolled; the study needs {fewest}.")
    new_folder(out)
    write_atomically(out / ASKED, (json.dumps(asdict(asked), indent=1) + "\n").encode())
    _follow(root, asked, out, Follower(out, watch), watch)


def resume(root: Path, out: Path, watch: Watch) -> None:
    """Go on with a run that broke off, from its last checkpoint; as `submit`.

    Args:
        root: of the coordinator's folder; its SuperLink has to be running.
        out: the run's folder.
        watch: gets each new line of progress once.

    Raises:
        ConfigError: the folder holds no run, or its checkpoint is of another study or roster, is
            an older copy or was altered.
        EnvironmentFault: another process still works on the run.
        TacitError: whatever ended the run, with its own type.
    """
    asked = asked_in(out)
    with alone(out):  # what is left of the run has ended
        read_checkpoint(out / CHECKPOINT)
    (out / ERROR).unlink(missing_ok=True)
    _follow(root, asked, out, Follower(out, watch, is_resumed=True), watch, resume=True)


def asked_in(out: Path) -> Asked:
    """What the run in a folder was submitted with.

    Raises:
        ConfigError: the folder holds no run.
    """
    try:
        found = json.loads((out / ASKED).read_text(encoding="utf-8"))
        return Asked(str(found["study"]), tuple(found["settings"]), float(found["wait_s"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{out} holds no run of `tacit coordinator run`: expected {out / ASKED}."
        ) from error


def _follow(
    root: Path, asked: Asked, out: Path, follow: Follower, watch: Watch, *, resume: bool = False
) -> None:
    """Submit what was asked and follow it to its end."""
    flwr = command_line(root)
    register(root, flwr)
    try:
        waiting = Waiting(follow, watch, root / "superexec.log")
        play(flwr, _run_config(root, asked, out, resume), waiting)
    except RunFailed:
        raise said(out) or RunFailed(
            f"The run ended before it wrote why; see {root / 'superexec.log'}. Once the cause is "
            f"gone: tacit coordinator resume {root} {out}"
        ) from None
    finally:
        follow()


class Waiting:
    """What is done about once a second while a run is waited for.

    Args:
        follow: hands its progress on.
        watch: gets a note, once, when nobody has taken the run up for long.
        log: of the process that should have.
        clock: seconds, for tests.
    """

    def __init__(
        self, follow: Follower, watch: Watch, log: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._follow, self._watch, self._log, self._clock = follow, watch, log, clock
        self._until = clock() + START_TIMEOUT_S
        self._is_told = False

    def __call__(self) -> bool:
        """Follow the run; whether it is through.

        Raises:
            RunFailed: the process that played it died.
        """
        if self._follow.has_died():
            raise RunFailed("The process that played the run died.")
        if not self._is_told and not self._follow.has_begun() and self._clock() > self._until:
            self._is_told = True
            text = f"nobody has taken the run up for {START_TIMEOUT_S:g} s; see {self._log}"
            self._watch({"event": "note", "text": text})
        return self._follow()


def _run_config(root: Path, asked: Asked, out: Path, resume: bool) -> RunConfig:
    pairs = [pair.partition("=") for pair in asked.settings]
    return {
        "study": asked.study,
        "federation": str(root.absolute()),
        "run-dir": str(out.absolute()),
        "resume": resume,
        "wait-s": str(asked.wait_s),
        **{key.replace("_", "-"): value for key, _, value in pairs},
    }
