"""A study while more and more modalities are missing: left out of the fusion, or filled with zeros.

The protocol is that of FedMultimodal (Feng et al., KDD 2023), in two forms: by clip, in training
and evaluation; or as its code plays it, by client while training alone, with nothing missing in
evaluation. Its clients are persons, so the second form hides by person.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from common.config import Study
from common.errors import ConfigError
from common.files import write_atomically
from common.missing import Missing
from simulations.crossval import Repeat, check_folds, spread, variants
from simulations.kept import Following, kept_runs
from simulations.report.missing import MissingCurves, MissingPoint, draw_missing

PROTOCOLS = {"clips": ("clip", True), "clients": ("person", False)}
"""Name -> by whom modalities are hidden, and whether in evaluation too."""
TREATMENTS = ("masked", "zeros")


@dataclass(frozen=True)
class MissingPlan:
    """What is to be run.

    Args:
        study: with every modality.
        rates: of missing modalities, 0 to 0.95, rising.
        protocol: name in PROTOCOLS.
        draws: how often what is missing is drawn for each rate and fold.
        folds: folds by person; 0 takes the study's own.
        seeds: seeds, where the manifest holds the split.
    """

    study: Study
    rates: tuple[float, ...]
    protocol: str
    draws: int
    folds: int
    seeds: int

    def runs(self, treatment: str, rate: float) -> dict[str, Study]:
        """Name -> study of every run at a point; where nothing is missing, one draw is all."""
        by, evaluation = PROTOCOLS[self.protocol]
        found: dict[str, Study] = {}
        for draw in range(self.draws if rate else 1):
            seed = self.study.missing.seed + draw
            missing = Missing(rate, by, evaluation, seed, treatment)
            study = replace(self.study, missing=missing)
            once = variants(study, self.folds or study.split.folds, self.seeds)
            found |= {f"{name} draw {draw + 1}" if draw else name: s for name, s in once.items()}
        return found


def plan_missing(
    study: Study, rates: str, protocol: str, draws: int, folds: int, seeds: int
) -> MissingPlan:
    """A plan from what was typed; rates in percent, such as "0,25,50".

    Raises:
        ConfigError: a rate or the protocol is not one, a single fold is asked for, or the study
            has a single modality or no classes.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"--protocol is {protocol!r}; expected {' or '.join(PROTOCOLS)}.")
    if not study.classes:
        raise ConfigError(f"{study.name} has no classes; expected a study with a UAR to compare.")
    if len(study.modalities) < 2:
        raise ConfigError(
            f"{study.name} has one modality; expected two, so that one may be missing."
        )
    try:
        found = sorted({float(text) / 100 for text in rates.split(",")})
    except ValueError:
        raise ConfigError(f"--rates is {rates!r}; expected percents like 0,25,50.") from None
    if not all(0 <= rate <= 0.95 for rate in found):
        raise ConfigError(f"--rates is {rates!r}; expected percents from 0 to 95.")
    check_folds(folds)
    return MissingPlan(study, tuple(found), protocol, draws, folds, seeds)


def run_missing(plan: MissingPlan, data: Path, out: Path, following: Following) -> MissingCurves:
    """Run what is still missing of a plan, and read off the figures.

    Where nothing is hidden and every clip has all modalities, both treatments are one model, but
    both are run: a corpus may have gaps of its own.
    """
    kept = kept_runs(data, out, following)
    found: dict[str, dict[float, list[Repeat]]] = {name: {} for name in TREATMENTS}
    for rate in plan.rates:
        for name in TREATMENTS:
            group = f"{plan.protocol}-{100 * rate:g}-{name}"
            runs = plan.runs(name, rate).items()
            found[name][rate] = [kept.repeat(group, one, study) for one, study in runs]
    by_treatment = {
        name: tuple(_point(rate, runs) for rate, runs in by_rate.items())
        for name, by_rate in found.items()
    }
    gains = tuple(_gain(*(found[name][rate] for name in TREATMENTS)) for rate in plan.rates)
    study = plan.study
    chance = 1 / len(study.classes)
    return MissingCurves(study.name, plan.protocol, plan.draws, chance, by_treatment, gains)


def write_missing(curves: MissingCurves, out: Path) -> Path:
    """Write missing-PROTOCOL.json and .png; returns the picture's path."""
    write_atomically(out / f"missing-{curves.protocol}.json", missing_json(curves).encode())
    return draw_missing(curves, out / f"missing-{curves.protocol}.png")


def missing_json(curves: MissingCurves) -> str:
    """The figures as JSON."""
    return json.dumps({"version": 1, **asdict(curves)}, indent=2) + "\n"


def _uars(runs: Sequence[Repeat]) -> list[float]:
    return [one.uar for one in runs if one.uar is not None]


def _point(rate: float, runs: Sequence[Repeat]) -> MissingPoint:
    uar = spread(_uars(runs))
    return MissingPoint(rate, uar.mean, uar.deviation, len(runs))


def _gain(masked: Sequence[Repeat], zeros: Sequence[Repeat]) -> tuple[float, float]:
    """Mean and standard error of what masking gains, run by run."""
    pairs = zip(_uars(masked), _uars(zeros), strict=True)
    gain = spread([one - other for one, other in pairs])
    return gain.mean, gain.deviation / max(1, len(masked)) ** 0.5
