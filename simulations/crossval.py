"""A study over folds of persons, or over seeds: what a figure is worth."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rich.table import Table

from common.affect.figures import main_figures
from common.config import Study
from common.errors import ConfigError
from server.following import Watch
from simulations.result import read_rounds
from simulations.studies import simulate

MOST_COLUMNS = 5


@dataclass(frozen=True)
class Repeat:
    """One of the runs.

    Args:
        name: "fold 0", "seed 3".
        uar: unweighted average recall on persons kept for evaluation; None without classes.
        weighted_f1: F1 averaged by the classes' share of clips; None without classes.
        persons: how many were kept.
        figures: what a summary says beside: CCC and MSE of each dimension, F1 of the labels.
    """

    name: str
    uar: float | None
    weighted_f1: float | None
    persons: int
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a figure over repeats."""

    mean: float
    deviation: float


def check_folds(folds: int) -> None:
    """Refuse a single fold: it leaves nobody to train on.

    Raises:
        ConfigError: one fold is asked for.
    """
    if folds == 1:
        raise ConfigError("--folds is 1; expected 2 or more, or 0 for the study's own.")


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
    found = read_rounds(simulate(study, data, folder, watch=watch))[-1].found
    uar = found.classes.uar.value if found.classes else None
    f1 = found.classes.weighted_f1.value if found.classes else None
    beside = main_figures(replace(found, classes=None))
    return Repeat(name, uar, f1, found.persons, {one.name: one.value for one in beside})


def spread_table(study: Study, found: Sequence[Repeat]) -> Table:
    """Every repeat, and mean and spread of each figure."""
    private = study.privacy
    guarantee = (
        "without privacy"
        if private.mode == "none"
        else f"ε = {private.target_epsilon:g} per {private.unit}, {private.mode}"
    )
    rows = [_row(one) for one in found]
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    lines = [("", "persons", *names)]
    for one, row in zip(found, rows, strict=True):
        cells = (f"{row[name]:{_digits(name)}}" if name in row else "–" for name in names)
        lines.append((one.name, str(one.persons), *cells))
    spreads = {name: spread([row[name] for row in rows if name in row]) for name in names}
    means = (f"{s.mean:{_digits(n)}} ± {s.deviation:{_digits(n)}}" for n, s in spreads.items())
    return _laid_out(f"{study.name}, {guarantee}", [*lines, ("mean ± sd", "", *means)])


def _laid_out(title: str, lines: Sequence[Sequence[str]]) -> Table:
    """A row for each repeat; with many figures, a row for each of them."""
    if len(lines[0]) > MOST_COLUMNS:
        lines = list(zip(*lines, strict=True))
    table = Table(title=title)
    for column in lines[0]:
        table.add_column(column, justify="left" if not column else "right")
    for line in lines[1:]:
        is_mean = line[0] == "mean ± sd"
        if is_mean:
            table.add_section()
        table.add_row(*line, style="bold" if is_mean else "")
    return table


def _row(one: Repeat) -> dict[str, float]:
    """A repeat's figures; shares in percent."""
    shares = {"UAR": one.uar, "weighted F1": one.weighted_f1}
    beside = {n: v * (1 if _digits(n) == ".3f" else 100) for n, v in one.figures.items()}
    return {name: 100 * value for name, value in shares.items() if value is not None} | beside


def _digits(name: str) -> str:
    return ".3f" if name.startswith(("CCC", "MSE")) else ".1f"


def spread(values: list[float]) -> Spread:
    """Mean and sample standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return Spread(statistics.fmean(values), deviation)
