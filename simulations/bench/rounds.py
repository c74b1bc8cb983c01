"""`tacit bench round`: what a round over SuperNodes costs beside its work, by whose processes.

One study, three times over the same throw-away sites: in this process (the work alone), with the
site runner, and with Flower's own process for every message. Overhead is what a steady round takes
longer than the work.
"""

import csv
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from client.app import app as client_app
from client.session import session
from common.budget import resolved
from common.config import Study
from common.settings import load_study, to_yaml
from common.sums import parameters_of
from server.app import app as server_app
from server.flwr_cli import RunConfig
from server.following import progress
from simulations.bench.figures import Figure, Outcome, at_most, share
from simulations.bench.machine import facts
from simulations.federation import run_in_process
from simulations.sites import prepare_federation
from simulations.supernodes import run_over_supernodes

PACKAGES = ("flwr", "torch", "numpy", "cryptography")
MOST_OVERHEAD = 0.5
"""Asked: at most half of what Flower's own processes take."""

_STUDY = """\
name: bench-round
classes: [calm, glad]
modalities: {features_a: {options: {dim: 16}}}
device: cpu
model: {fusion: late, hidden: 0}
split: {folds: 2, fold: 0}
"""
_PERSONS, _CLIPS, _DIM = 8, 4, 16

Watch = Callable[[str], None]
Play = Callable[[int, RunConfig], None]


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        sites: at least 3.
        rounds: of a run; the first brings every process up, the last evaluates too.
    """

    sites: int = 3
    rounds: int = 6


@dataclass(frozen=True)
class Spent:
    """Seconds of one run: until its first round was through, and of a steady round."""

    first_s: float
    steady_s: float


def run(plan: Plan, watch: Watch) -> Outcome:
    """Measure all three, in turn."""
    ways: dict[str, Play] = {
        "in one process": _in_process,
        "with the runner": lambda n, c: run_over_supernodes(n, c, _unwatched),
        "Flower's processes": lambda n, c: run_over_supernodes(n, c, _unwatched, with_runner=False),
    }
    found = {}
    for name, play in ways.items():
        watch(name)
        found[name] = measure(plan, play)
    work, own, flower = found.values()
    return Outcome(
        "round",
        "A round over SuperNodes on one machine",
        "Flower",
        facts(PACKAGES),
        {"sites": plan.sites, "rounds": plan.rounds},
        figures(plan, work, own, flower),
    )


def figures(plan: Plan, work: Spent, own: Spent, flower: Spent) -> list[Figure]:
    """What is reported of three runs."""
    at = {"sites": plan.sites, "rounds": plan.rounds}
    beside = (flower.steady_s - work.steady_s, own.steady_s - work.steady_s)
    return [
        at_most("the work of a steady round", at, work.steady_s),
        share("a steady round", at, (flower.steady_s, own.steady_s)),
        share("a steady round's overhead", at, beside, MOST_OVERHEAD),
        share("from the start to the first sum", at, (flower.first_s, own.first_s)),
    ]


def measure(plan: Plan, play: Play) -> Spent:
    """Play the study once, over sites made for it."""
    with tempfile.TemporaryDirectory(prefix="tacit-bench-") as folder:
        root = Path(folder)
        config = _laid(plan, root)
        play(plan.sites, config)
        return spent(progress(root / "run"))


def spent(lines: list[dict[str, object]]) -> Spent:
    """What a run's progress says of its time; a round between the first and the last is steady."""
    rounds = [line for line in lines if line["event"] == "round"]
    started = next(float(str(line["time"])) for line in lines if line["event"] == "started")
    steady = [float(str(line["seconds"])) for line in rounds[1:-1]]
    return Spent(float(str(rounds[0]["time"])) - started, median(steady))


def _laid(plan: Plan, root: Path) -> dict[str, str]:
    """Sites with features of their own, and a study over them that was resolved."""
    path = root / "study.yaml"
    path.write_text(_STUDY, encoding="utf-8")
    study = load_study(str(path), _settings(plan))
    for number in range(plan.sites):
        _write_site(root / "data" / "sites" / f"site-{number}", number, study)
    made = prepare_federation(study, root / "data", root / "federation", study.seed)
    study = resolved(study, len(made.sites), parameters_of(study))
    path.write_text(to_yaml(study), encoding="utf-8")
    places = {"study": path, "federation": root / "federation", "run-dir": root / "run"}
    return {key: str(value) for key, value in places.items()}


def _settings(plan: Plan) -> tuple[str, ...]:
    rounds = plan.rounds
    return (f"training.num_server_rounds={rounds}", f"training.evaluate_every={rounds}")


def _write_site(folder: Path, seed: int, study: Study) -> None:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(("sample_id", "person_id", "label", "features_a"))
        for clip in range(_PERSONS * _CLIPS):
            label = study.classes[clip % len(study.classes)]
            values = json.dumps(rng.normal(0, 1, _DIM).round(4).tolist())
            table.writerow((f"{seed}-{clip}", f"{seed}-{clip // _CLIPS}", label, values))


def _in_process(num_nodes: int, config: RunConfig) -> None:
    session.cache_clear()
    run_in_process(server_app, client_app, num_nodes, {k: str(v) for k, v in config.items()})


def _unwatched() -> bool:
    return False
