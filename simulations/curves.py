"""A study at several ε in each mode; every finished run is kept, so a broken-off call goes on."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from common.config import Study
from common.errors import ConfigError
from common.files import write_atomically
from common.settings import load_study
from simulations.crossval import Repeat, check_folds, spread, variants
from simulations.kept import Following, kept_runs
from simulations.report.curves import CurvePoint, Curves, draw_curves

MODES = ("local", "distributed")
WITHOUT = "none"


@dataclass(frozen=True)
class Spot:
    """A place on a curve.

    Args:
        mode: "local", "distributed", or "none" at ε = ∞.
        epsilon: of the whole run at a site; ∞ without privacy.
    """

    mode: str
    epsilon: float

    @property
    def name(self) -> str:
        """Name of the spot's folder."""
        return WITHOUT if self.mode == WITHOUT else f"{self.mode}-{self.epsilon:g}"

    @property
    def settings(self) -> tuple[str, ...]:
        """What puts a study there."""
        given = (f"privacy.mode={self.mode}",)
        bound = (f"privacy.target_epsilon={self.epsilon!r}",)
        return given if self.mode == WITHOUT else given + bound


@dataclass(frozen=True)
class Plan:
    """What is to be run, and where it is kept.

    Args:
        study: a name in conf/studies, or a path.
        settings: key=value pairs on top of it.
        data: holds sites/NAME/manifest.csv.
        out: gets a folder a run, and a file a finished one in points/; may hold an earlier call's.
        folds: folds by person; 0 takes the study's own.
        seeds: seeds, where the manifest holds the split.
        draws: runs of each fold or seed under privacy; their noise differs.
    """

    study: str
    settings: tuple[str, ...]
    data: Path
    out: Path
    folds: int
    seeds: int
    draws: int = 1

    def at(self, spot: Spot) -> Study:
        """The study with the settings that hold there."""
        return load_study(self.study, (*self.settings, *spot.settings))

    def runs(self, spot: Spot) -> dict[str, Study]:
        """Name -> study of every run there; without privacy a second draw would be the first."""
        study = self.at(spot)
        once = variants(study, self.folds or study.split.folds, self.seeds)
        draws = 1 if spot.mode == WITHOUT else self.draws
        return {
            f"{name} draw {draw + 1}" if draw else name: variant
            for draw in range(draws)
            for name, variant in once.items()
        }


def plan_curves(
    study: str,
    settings: tuple[str, ...],
    data: Path | None,
    out: Path | None,
    folds: int,
    seeds: int,
    draws: int = 1,
) -> Plan:
    """A plan with the usual folders where none are given.

    Raises:
        ConfigError: the study or a setting is not one, or a single fold is asked for.
    """
    found = load_study(study, settings)
    name = found.name
    if not found.classes:
        raise ConfigError(f"{name} has no classes; expected a study with a UAR to draw.")
    check_folds(folds)
    folder = out or Path("runs") / f"{name}-curves"
    return Plan(study, settings, data or Path("data") / name, folder, folds, seeds, draws)


def spots_of(epsilons: str, modes: str) -> tuple[Spot, ...]:
    """The places that "1,2,inf" and "local,distributed" name; ∞ is one, without privacy.

    Raises:
        ConfigError: an ε or a mode is not one.
    """
    names, found = [name.strip() for name in modes.split(",")], set()
    for name in names:
        if name not in MODES:
            raise ConfigError(f"--modes has {name!r}; expected {' or '.join(MODES)}, or both.")
    if len(set(names)) < len(names):
        raise ConfigError(f"--modes is {modes!r}; expected each mode once, not twice.")
    for text in epsilons.split(","):
        try:
            found.add(float(text.strip().replace("∞", "inf")))
        except ValueError:
            raise ConfigError(f"--epsilons has {text!r}; expected numbers like 1,2,inf.") from None
    if not all(epsilon > 0 for epsilon in found):
        raise ConfigError(f"--epsilons is {epsilons!r}; expected numbers above 0, or inf.")
    finite = sorted(epsilon for epsilon in found if math.isfinite(epsilon))
    private = tuple(Spot(mode, epsilon) for mode in names for epsilon in finite)
    return private + ((Spot(WITHOUT, math.inf),) if math.inf in found else ())


def run_spots(plan: Plan, spots: tuple[Spot, ...], following: Following) -> Curves:
    """Run what is still missing, and read off the curves.

    Args:
        plan: the study, its recordings, and the folder of the results.
        spots: where on the curves.
        following: shows one run's progress; gets its title and its number of rounds.

    Guarantees: a run that finished is not run again, unless the study or a manifest changed.
    """
    kept = kept_runs(plan.data, plan.out, following)
    found = {
        spot: [kept.repeat(spot.name, name, one) for name, one in plan.runs(spot).items()]
        for spot in spots
    }
    return _curves(plan.at(spots[0]), found)


def write_curves(curves: Curves, others: Sequence[Curves], out: Path) -> Path:
    """Write curves.json and curves.png, the others beside; returns the picture's path."""
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "curves.json", curves_json(curves).encode())
    return draw_curves((curves, *others), out / "curves.png")


def curves_json(curves: Curves) -> str:
    """Curves as JSON that `read_curves` reads back to equal ones."""
    return json.dumps({"version": 1, **asdict(curves)}, indent=2) + "\n"


def read_curves(path: Path) -> Curves:
    """Curves from a curves.json.

    Raises:
        ConfigError: it is not one.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("version") != 1:
            raise ValueError("another version")
        by_mode = {
            mode: tuple(CurvePoint(**point) for point in points)
            for mode, points in found.pop("by_mode").items()
        }
        open_point = found.pop("without_privacy")
        return Curves(
            **found,
            by_mode=by_mode,
            without_privacy=CurvePoint(**open_point) if open_point else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} does not hold curves of `tacit curves`: {error}.") from error


def _curves(study: Study, found: dict[Spot, list[Repeat]]) -> Curves:
    by_mode: dict[str, tuple[CurvePoint, ...]] = {}
    without = None
    for spot, repeats in found.items():
        uar = spread([one.uar for one in repeats if one.uar is not None])
        epsilon = None if spot.mode == WITHOUT else spot.epsilon
        point = CurvePoint(epsilon, uar.mean, uar.deviation, len(repeats))
        if spot.mode == WITHOUT:
            without = point
        else:
            by_mode[spot.mode] = (*by_mode.get(spot.mode, ()), point)
    private = study.privacy
    chance = 1 / len(study.classes)
    return Curves(study.name, private.unit, private.target_delta, chance, by_mode, without)
