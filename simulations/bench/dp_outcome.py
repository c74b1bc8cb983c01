"""`tacit bench dp`: what is measured, in which order, and what was asked of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch

from simulations.bench.dp import (
    Effort,
    exactness_figures,
    mean_figures,
    memory_figure,
    noise_figure,
    time_figures,
    times_on,
)
from simulations.bench.dp_models import MODELS, Benchmark
from simulations.bench.figures import Figure, Outcome, Setting, faster
from simulations.bench.ledger import measure_ledger
from simulations.bench.machine import facts
from simulations.threads import one_thread

Watch = Callable[[str], None]
Jobs = dict[str, Callable[[], list[Figure]]]
PACKAGES = ("torch", "opacus", "numpy", "cryptography")
AGAINST_OPACUS = 64
"""The batch at which Opacus is measured; its per-sample gradients fill memory at larger ones."""


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        batches: clips a step.
        models: which of the eight, by their place.
        effort: how long.
        noise: values of noise.
        is_full: whether figures are compared with what was asked.
        ledger: whether the ledger is measured too.
    """

    batches: tuple[int, ...] = (64, 256)
    models: tuple[int, ...] = tuple(range(len(MODELS)))
    effort: Effort = field(default_factory=Effort)
    noise: int = 1 << 20
    is_full: bool = True
    ledger: bool = True


QUICK = Plan((8,), (0, 1, 4), Effort(1, 0.0), 1 << 14, is_full=False, ledger=False)
"""Says whether everything runs; nothing was asked at these sizes."""


def plan(batches: tuple[int, ...], *, quick: bool) -> Plan:
    """Return what to measure, for what was typed; () takes the plan's own."""
    chosen = QUICK if quick else Plan()
    if not batches:
        return chosen
    own = chosen
    return Plan(batches, own.models, own.effort, own.noise, own.is_full, own.ledger)


def steps(chosen: Plan) -> int:
    """Return how often `run` will say what it is at."""
    return len(_jobs(chosen))


def run(chosen: Plan, watch: Watch) -> Outcome:
    """Measure everything on one thread, one thing after the other.

    Args:
        chosen: what to measure.
        watch: is told before each step what it is.
    """
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    figures: list[Figure] = []
    with one_thread():
        for text, job in _jobs(chosen).items():
            watch(text)
            figures += job()
    for batch in chosen.batches:
        figures += mean_figures(figures, batch, asked=chosen.is_full and batch in (64, 256))
    options = {"batches": list(chosen.batches), "repetitions": chosen.effort.least}
    title = "Private training: CPU time and memory of a step beside a plain one and Opacus"
    return Outcome("dp", title, "baseline", facts(PACKAGES, accelerator), options, figures, [])


def _jobs(chosen: Plan) -> Jobs:
    models = [MODELS[place] for place in chosen.models]
    jobs: Jobs = {}
    for batch in chosen.batches:
        for model in models:
            jobs[f"{model.name}, batch {batch}"] = partial(_of_model, chosen, model, batch)
    for model in models:
        jobs[f"{model.name}, exactness"] = partial(exactness_figures, model)
        if torch.cuda.is_available():
            jobs[f"{model.name}, GPU"] = partial(_on_gpu, chosen, model)
    jobs["noise"] = lambda: [noise_figure(chosen.noise, chosen.effort)]
    if chosen.ledger:
        jobs["ledger"] = lambda: list(measure_ledger())
    return jobs


def _of_model(chosen: Plan, model: Benchmark, batch: int) -> list[Figure]:
    sides = ["plain", "record", "person"]
    if batch <= AGAINST_OPACUS:
        sides += ["hooks", "ghost"]
    asked = chosen.is_full and batch in (64, 256)
    found = times_on("cpu", model, batch, sides, chosen.effort)
    figures = time_figures(model, batch, found, asked=asked)
    return [*figures, memory_figure(model, batch, asked=asked and batch == AGAINST_OPACUS)]


def _on_gpu(chosen: Plan, model: Benchmark) -> list[Figure]:
    batch = chosen.batches[-1]
    found = times_on("cuda", model, batch, ("plain", "record", "ghost"), chosen.effort)
    setting: Setting = {"model": model.name, "batch": batch}
    pairs = {"plain": "plain step / DP step on the GPU", "ghost": "samples a second on the GPU"}
    return [
        faster(f"{text}", setting, (found[side], found["record"])) for side, text in pairs.items()
    ]
