"""What private training costs: time and memory of a step, sides taking turns in one process."""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import exp, log
from time import perf_counter, process_time

import torch
from torch import Tensor

from common.models.heads import loss_per_clip
from common.privacy.clip_units import clip_factors
from common.privacy.clipping import clipped_sum, clipped_sum_by_hooks
from common.privacy.mechanism import CryptoStream
from simulations.bench.dp_memory import peak_bytes
from simulations.bench.dp_models import Benchmark, Rows
from simulations.bench.dp_sides import CLIPS_PER_PERSON, SIDES, Step
from simulations.bench.figures import Figure, Setting, at_most, faster, share

Times = Mapping[str, float]
MOST_RATIO, MEAN_RATIO, MEAN_RATIO_LARGE, MEAN_PERSON = 1.8, 1.45, 1.35, 1.2
MEMORY = {"head": 2.6, "encoder": 2.0}
FASTER, FASTER_THAN_HOOKS = 1.5, 10.0
FAR_FASTER = ("MLP head on 3072 features", "fusion transformer 256")
CHECK_ROWS, CHECK_NORM = 16, 0.5
PERSON_NOTE = f"{CLIPS_PER_PERSON} clips a person, as many clips in all as by record."


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Args:
        least: repetitions of each side.
        seconds: of all sides of a model together, at least.
    """

    least: int = 3
    seconds: float = 8.0


def times_on(
    device: str, benchmark: Benchmark, batch: int, sides: Iterable[str], effort: Effort
) -> Times:
    """Return the least time of a step by side: CPU time, or on a GPU the clock's."""
    rows = Rows.of(benchmark, batch, device)
    steps = {side: SIDES[side](benchmark, rows) for side in sides}
    timed = _cpu_seconds if device == "cpu" else _gpu_seconds
    for step in steps.values():
        step()
    found: dict[str, list[float]] = {side: [] for side in steps}
    spent, rounds = 0.0, 0
    while rounds < effort.least or spent < effort.seconds:
        for side, step in steps.items():
            found[side].append(timed(step))
        spent, rounds = spent + sum(each[-1] for each in found.values()), rounds + 1
    return {side: min(each) for side, each in found.items()}


def _cpu_seconds(step: Step) -> float:
    begun = process_time()
    step()
    return process_time() - begun


def _gpu_seconds(step: Step) -> float:
    torch.cuda.synchronize()
    begun = perf_counter()
    step()
    torch.cuda.synchronize()
    return perf_counter() - begun


def time_figures(benchmark: Benchmark, batch: int, found: Times, *, asked: bool) -> list[Figure]:
    """Return one model's figures from the times of its sides."""
    setting: Setting = {"model": benchmark.name, "batch": batch}
    plain, record = found["plain"], found["record"]
    most = MOST_RATIO if asked and batch == 64 else None
    figures = [share("DP step / plain step", setting, (plain, record), most)]
    for side in ("hooks", "ghost"):
        if side in found:
            far = side == "hooks" and benchmark.name in FAR_FASTER
            least = (FASTER_THAN_HOOKS if far else FASTER) if asked else None
            name = f"DP step against Opacus {side}"
            figures.append(faster(name, setting, (found[side], record), least))
    if "person" in found:
        figures.append(share("step by person / by record", setting, (record, found["person"])))
    return figures


def mean_figures(figures: Iterable[Figure], batch: int, *, asked: bool) -> list[Figure]:
    """Return geometric means over the models."""
    limits = {
        "DP step / plain step": MEAN_RATIO if batch == 64 else MEAN_RATIO_LARGE,
        "step by person / by record": MEAN_PERSON,
    }
    means = []
    for what, limit in limits.items():
        ratios = [f.ratio for f in figures if f.what == what and f.setting["batch"] == batch]
        logs = [log(ratio) for ratio in ratios if ratio is not None]
        if logs:
            setting: Setting = {"model": "geometric mean", "batch": batch}
            mean = exp(sum(logs) / len(logs))
            note = PERSON_NOTE if "person" in what else ""
            means.append(
                Figure(
                    what, setting, "share", ratio=mean, asked=limit if asked else None, note=note
                )
            )
    return means


def memory_figure(benchmark: Benchmark, batch: int, *, asked: bool) -> Figure:
    """Return the peak memory of a private step beside that of a plain one."""
    rows = Rows.of(benchmark, batch)
    peaks = []
    for side in ("plain", "record"):
        step = SIDES[side](benchmark, rows)
        step()
        peaks.append(float(peak_bytes(step)))
    limit = MEMORY[benchmark.kind] if asked else None
    setting: Setting = {"model": benchmark.name, "batch": batch}
    return share("peak memory / plain step", setting, (peaks[0], peaks[1]), limit, "B")


def exactness_figures(benchmark: Benchmark) -> list[Figure]:
    """Return how far the clipped sum is from two others, relative to its norm."""
    model, rows = benchmark.build().eval(), Rows.of(benchmark, CHECK_ROWS)
    unit_B = torch.arange(CHECK_ROWS)
    given = model, loss_per_clip, rows.x, rows.present_BM, rows.y_BC, unit_B, CHECK_ROWS
    ours = clipped_sum(*given, CHECK_NORM).gradients
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hooks = clipped_sum_by_hooks(*given, CHECK_NORM).gradients
    setting: Setting = {"model": benchmark.name, "batch": CHECK_ROWS}
    loop = _by_loop(model, rows)
    return [
        at_most("gradient off a loop over clips", setting, _distance(ours, loop), 5e-5, ""),
        at_most("gradient off Opacus hooks", setting, _distance(ours, hooks), 1e-6, ""),
    ]


def _by_loop(model: torch.nn.Module, rows: Rows) -> dict[str, Tensor]:
    names = [name for name, _ in model.named_parameters()]
    total: dict[str, Tensor] = {}
    for clip in range(CHECK_ROWS):
        x = {name: value[clip : clip + 1] for name, value in rows.x.items()}
        logits_BC = model(x, rows.present_BM[clip : clip + 1])
        loss = loss_per_clip(logits_BC, rows.y_BC[clip : clip + 1]).sum()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        wide = [gradient.double() for gradient in gradients]
        norm = torch.stack([gradient.norm() for gradient in wide]).norm()
        factor = clip_factors(norm, CHECK_NORM)
        for name, gradient in zip(names, wide, strict=True):
            total[name] = total.get(name, 0) + factor * gradient
    return total


def _distance(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    pairs = [(found[name].double(), expected[name].double()) for name in expected]
    off = torch.stack([(one - other).norm() for one, other in pairs]).norm()
    return float(off / torch.stack([other.norm() for _, other in pairs]).norm())


def noise_figure(values: int, effort: Effort) -> Figure:
    """Return the cost of cryptographic noise beside torch's own."""
    stream = CryptoStream(os.urandom(32))
    sides: dict[str, Callable[[], object]] = {
        "torch": lambda: torch.normal(0.0, 1.0, (values,)),
        "ours": lambda: stream.gaussian(values),
    }
    found: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(10 * effort.least):
        for side, draw in sides.items():
            begun = process_time()
            draw()
            found[side].append(process_time() - begun)
    costs = min(found["torch"]), min(found["ours"])
    return share("cryptographic noise / torch.normal", {"values": values}, costs, 1.5)
