"""The coordinator's side of Flower: read the run's configuration, find the sites, run the study."""

import json
import time
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.budget import resolved
from common.config import Study
from common.errors import ConfigError, ExitCode, TacitError
from common.files import write_atomically
from common.keys import read_roster
from common.secagg.roster import Roster
from common.settings import config_hash, load_study, overrides_from_run_config, to_yaml
from common.sums import parameters_of, policy_for
from server.checkpoint import (
    CHECKPOINT,
    Checkpoint,
    Origin,
    alone,
    check_newest,
    check_origin,
    read_checkpoint,
    taken_up,
    write_checkpoint,
)
from server.confirming import CONFIRMING, Confirming
from server.exchange import GridExchange, Meeting
from server.federate import Report, federate, first_checkpoint
from server.following import ERROR, PROGRESS
from server.following import progress as progress_of
from server.heads import Heads
from server.quorum import WAIT_S, Quorum
from server.secure_sum import Sums

ATTEMPTS_BITS = 16
"""Attempts at one round between two times that a run is taken up: room for 2^16."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run a study over the sites of the roster."""
    folder = Path(str(context.run_config.get("run-dir") or "runs/flower")).absolute()
    with alone(folder):
        try:
            roster = read_roster(_given(context, "federation") / "roster.json")
            study = _study(context, roster)
            _run(grid, context, folder, study, roster)
        except Exception as error:
            code = error.exit_code if isinstance(error, TacitError) else ExitCode.FAILED
            said = {"type": type(error).__name__, "message": str(error), "exit_code": int(code)}
            write_atomically(folder / ERROR, json.dumps(said).encode())
            raise


def _run(grid: Grid, context: Context, folder: Path, study: Study, roster: Roster) -> None:
    """Begin a run, or go on with one that broke off, and play it to its end."""
    (folder / ERROR).unlink(missing_ok=True)
    reports = _reporter(folder)
    begun = _begun(context, folder, study, roster)
    write_atomically(folder / "study.yaml", to_yaml(study).encode())
    write_checkpoint(folder / CHECKPOINT, begun)

    def log(line: str) -> None:
        reports({"event": "note", "text": line})

    policy = policy_for(study, roster)
    meeting = Meeting(grid, {}, roster)
    wait_s = float(str(context.run_config.get("wait-s") or WAIT_S))
    quorum = Quorum(meeting.there, roster, policy.min_sites, log, wait_s=wait_s)
    started: dict[str, object] = {"event": "started", "sites": list(quorum.gather())}
    reports(started | ({"after_round": begun.round} if begun.resumed else {}))
    _report_lost(begun, folder, reports)
    exchange = GridExchange(grid, meeting, study.secure_aggregation.stage_timeout_s, log)
    if not begun.resumed:
        (folder / CONFIRMING).unlink(missing_ok=True)
    sums = Sums(
        exchange,
        policy,
        study,
        begun.origin.run,
        log,
        heads=Heads((folder, _given(context, "federation")), begun.heads),
        quorum=quorum,
        first_attempt=begun.resumed << ATTEMPTS_BITS,
        confirming=Confirming(folder),
    )
    federate(sums, folder, reports, begun)
    reports({"event": "finished"})


def _begun(context: Context, folder: Path, study: Study, roster: Roster) -> Checkpoint:
    """The run before its first sum; or where it broke off, if it is to be taken up again.

    Raises:
        ConfigError: there is nothing to take up, or it is of another study or roster, or older
            than what was reported.
    """
    origin = Origin(f"{study.name}-{context.run_id}", config_hash(study).hex(), roster.digest.hex())
    if not context.run_config.get("resume"):
        return first_checkpoint(study, origin)
    path = folder / CHECKPOINT
    found = read_checkpoint(path)
    check_origin(found, origin, path)
    rounds = [int(line["round"]) for line in progress_of(folder) if line["event"] == "round"]
    check_newest(found, max(rounds, default=0), path)
    return taken_up(found)


def _report_lost(begun: Checkpoint, folder: Path, report: Report) -> None:
    """Report the rounds that a run was through with when it broke off, but had not said so."""
    said = {line.get("round") for line in progress_of(folder) if line["event"] == "round"}
    for number, line in enumerate(begun.history, start=1):
        is_through = number < len(begun.history) or not begun.pending
        if is_through and line["round"] not in said:
            report(line)


def _study(context: Context, roster: Roster) -> Study:
    overrides = overrides_from_run_config(context.run_config)
    own = _given(context, "federation") / "studies"
    study = load_study(str(context.run_config.get("study", "")), overrides, own)
    return resolved(study, len(roster), parameters_of(study))


def _given(context: Context, key: str) -> Path:
    value = str(context.run_config.get(key) or "")
    if not value:
        raise ConfigError(f"run_config lacks {key!r}: give it as -c '{key}=\"/absolute/path\"'.")
    return Path(value)


def _reporter(folder: Path) -> Report:
    """What appends lines that a person or a progress bar can follow."""
    path = folder / PROGRESS
    if path.exists() and not path.read_bytes().endswith(b"\n"):  # a crash cut the last one off
        with path.open("a", encoding="utf-8") as out:
            out.write("\n")

    def report(line: dict[str, object]) -> None:
        with path.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"time": round(time.time(), 3), **line}) + "\n")

    return report
