"""A study over folds of persons, or over seeds: what a figure is worth."""

import json
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from common.config import Study
from server.following import Watch
from simulations.result import read_rounds
from simulations.studies import simulate


@dataclass(frozen=True)
class Repeat:
    """One of the runs.

    Args:
        name: "fold 0", "seed 3".
        uar: unweighted average recall on persons kept for evaluation.
        weighted_f1: F1 averaged by the classes' share of clips.
        persons: how many were kept.
    """

    name: str
    uar: float
    weighted_f1: float
    persons: int


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a figure over repeats."""

    mean: float
    deviation: float


def variants(study: Study, folds: int, seeds: int) -> dict[str, Study]:
    """The studies to run: every fold, or every seed where the manifest holds the split."""
    if folds:
        splits = {f"fold {k}": replace(study.split, folds=folds, fold=k) for k in range(folds)}
        return {name: replace(study, split=split) for name, split in splits.items()}
    numbers = range(study.seed, study.seed + seeds)
    return {f"seed {number}": replace(study, seed=number) for number in numbers}


def repeat_study(study: Study, data: Path, out: Path, name: str, watch: Watch) -> Repeat:
    """Run one variant in this process and keep what it reached.

    Args:
        study: the variant.
        data: holds sites/NAME/manifest.csv.
        out: gets a folder for this variant, and a line in repeats.jsonl.
        name: of the variant.
        watch: follows the run.
    """
    found = run_repeat(study, data, out / name.replace(" ", "-"), name, watch)
    with (out / "repeats.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"study": study.name, **asdict(found)}) + "\n")
    return found


def run_repeat(study: Study, data: Path, folder: Path, name: str, watch: Watch) -> Repeat:
    """Run one variant in this process, in a folder of its own."""
    metrics = read_rounds(simulate(study, data, folder, watch=watch))[-1].metrics
    return Repeat(name, metrics.uar.value, metrics.weighted_f1.value, metrics.persons)


def spread(values: list[float]) -> Spread:
    """Mean and sample standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return Spread(statistics.fmean(values), deviation)
