"""`tacit bench features`: what is measured, in which order, and what was asked of it."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from simulations.bench.features import (
    LIGHT,
    MEASURED,
    open_encoder,
    write_clips,
    write_encoder,
    write_long,
)
from simulations.bench.features_memory import peak_of
from simulations.bench.features_sides import cpu_times, difference, plain_side, tacit_side
from simulations.bench.figures import Figure, Outcome, Setting, at_most, faster, share
from simulations.bench.machine import facts
from simulations.threads import one_thread

Watch = Callable[[str], None]
PACKAGES = ("torch", "transformers", "soundfile", "av", "numpy")
LEAST_SPEED = 1.0
MOST_GROWTH = 1.1
MOST_DIFFERENCE = 1e-3


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        clips: short ones, for throughput.
        repetitions: of both sides, in turn.
        minutes: of a recording, and of a long one.
        is_full: whether figures are compared with what was asked.
    """

    clips: int = 48
    repetitions: int = 3
    minutes: tuple[int, int] = (10, 120)
    is_full: bool = True


QUICK = Plan(6, 1, (1, 2), is_full=False)
"""Says whether everything runs; nothing was asked at these sizes."""


def plan(*, quick: bool) -> Plan:
    """Return what to measure."""
    return QUICK if quick else Plan()


def steps(chosen: Plan) -> int:
    """Return how often `run` will say what it is at."""
    return len(_jobs(chosen, Path()))


def run(chosen: Plan, watch: Watch) -> Outcome:
    """Measure everything on one thread of the processor, one thing after the other.

    Args:
        chosen: what to measure.
        watch: is told before each step what it is.
    """
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="tacit-bench-") as root, one_thread():
        for text, job in _jobs(chosen, Path(root)).items():
            watch(text)
            figures += job()
    options = {
        "clips": chosen.clips,
        "repetitions": chosen.repetitions,
        "minutes": list(chosen.minutes),
    }
    title = "Frozen encoders: a plain DataLoader loop beside Tacit, and memory over hours"
    return Outcome("features", title, "baseline", facts(PACKAGES), options, figures, [])


def _jobs(chosen: Plan, root: Path) -> dict[str, Callable[[], list[Figure]]]:
    jobs: dict[str, Callable[[], list[Figure]]] = {}
    for name in MEASURED:
        jobs[f"throughput, {name}"] = partial(_throughput, chosen, root / "short", name)
    for name in LIGHT:
        jobs[f"memory, {name}"] = partial(_memory, chosen, root / "long", name)
    return jobs


def _throughput(chosen: Plan, root: Path, name: str) -> list[Figure]:
    recipe, numbers = MEASURED[name], count()
    frozen = open_encoder(recipe, write_encoder(recipe, root / name))
    paths = write_clips(recipe.modality, chosen.clips, root / f"{name}-clips")
    sides = (
        plain_side(frozen, paths),
        tacit_side(frozen, paths, lambda: root / f"{name}-cache-{next(numbers)}"),
    )
    (plain_s, tacit_s), (plain_NF, tacit_NF) = cpu_times(sides, chosen.repetitions)
    setting: Setting = {"recordings": name, "size": f"{chosen.clips} clips"}
    asked = LEAST_SPEED if chosen.is_full else None
    return [
        faster("CPU time, keeping included", setting, (plain_s, tacit_s), asked),
        at_most(
            "largest difference of a feature",
            setting,
            difference(plain_NF, tacit_NF),
            MOST_DIFFERENCE,
            unit="",
        ),
    ]


def _memory(chosen: Plan, root: Path, name: str) -> list[Figure]:
    recipe, suffix = LIGHT[name], ".mp4" if name == "film" else ".wav"
    encoder = write_encoder(recipe, root / name)
    peaks = []
    for minutes in chosen.minutes:
        path = write_long(recipe.modality, minutes, root / f"{name}-{minutes}{suffix}")
        peaks.append(peak_of(encoder, path, name))
        path.unlink()
    short, long = chosen.minutes
    setting: Setting = {"recordings": name, "size": f"{long} min / {short} min"}
    asked = MOST_GROWTH if chosen.is_full else None
    return [
        share("peak memory", setting, (peaks[0].whole, peaks[1].whole), asked, unit="B"),
        share("of it, for reading", setting, (peaks[0].reading, peaks[1].reading), unit="B"),
    ]
