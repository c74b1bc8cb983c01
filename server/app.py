"""The coordinator's side of Flower: read the run's configuration, find the sites, run the study."""

import json
import time
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.budget import resolved
from common.config import Study
from common.errors import ConfigError, ExitCode, TacitError
from common.keys import read_roster
from common.secagg.roster import Roster
from common.settings import load_study, overrides_from_run_config, to_yaml
from common.sums import parameters_of, policy_for
from server.checkpoint import write_atomically
from server.exchange import GridExchange, discover
from server.federate import federate
from server.heads import Heads
from server.secure_sum import Sums

START_TIMEOUT_S = 300.0

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run a study over the sites of the roster."""
    folder = Path(str(context.run_config.get("run-dir") or "runs/flower")).absolute()
    try:
        roster = read_roster(_given(context, "federation") / "roster.json")
        study = _study(context, roster)
        _run(grid, context, folder, study, roster)
    except Exception as error:
        code = error.exit_code if isinstance(error, TacitError) else ExitCode.FAILED
        said = {"type": type(error).__name__, "message": str(error), "exit_code": int(code)}
        write_atomically(folder / "error.json", json.dumps(said).encode())
        raise


def _run(grid: Grid, context: Context, folder: Path, study: Study, roster: Roster) -> None:
    timeout_s = study.secure_aggregation.stage_timeout_s
    progress = folder / "progress.jsonl"
    write_atomically(folder / "study.yaml", to_yaml(study).encode())
    nodes = discover(grid, len(roster), START_TIMEOUT_S)
    _report(progress, {"event": "started", "sites": list(nodes)})

    def log(line: str) -> None:
        _report(progress, {"event": "note", "text": line})

    exchange = GridExchange(grid, nodes, timeout_s, log)
    run = f"{study.name}-{context.run_id}"
    heads = Heads((folder, _given(context, "federation")))
    sums = Sums(exchange, policy_for(study, roster), study, run, log, heads)
    federate(sums, folder, lambda line: _report(progress, line))
    _report(progress, {"event": "finished"})


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


def _report(path: Path, line: dict[str, object]) -> None:
    """Append one line that a person or a progress bar can follow."""
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps({"time": round(time.time(), 3), **line}) + "\n")
