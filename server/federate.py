"""A run, from the first model to the last: a plain loop over secret sums."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from common.affect import Evaluation, described, read_evaluation
from common.budget import grid_of
from common.class_counts import counts_from_lane
from common.config import Study
from common.files import write_atomically
from common.models.registry import build
from common.parameters import Arrays, to_arrays
from common.secagg.ring import Decoded, FloatArray
from common.standardise import from_lanes, split
from common.sums import gathers_statistics, parameters_of, statistics_shapes
from server.checkpoint import (
    CHECKPOINT,
    Checkpoint,
    Origin,
    write_checkpoint,
)
from server.optimizer import OptimizerState, optimizer
from server.secure_sum import Sums

Report = Callable[[dict[str, object]], None]


def federate(sums: Sums, folder: Path, report: Report, begun: Checkpoint | None = None) -> Arrays:
    """Train a study's model over the sites, round by round.

    Args:
        sums: reaches the sites and adds up.
        folder: gets a checkpoint after every sum, and the finished model.
        report: gets one dict of JSON values for each round that is through.
        begun: where a run that broke off goes on; None begins one.

    Returns:
        the finished model's tensors.
    """
    rounds, path = sums.study.training.num_server_rounds, folder / CHECKPOINT
    now = begun or first_checkpoint(sums.study)
    while now.round < rounds or now.pending:
        now = replace(step(sums, now), heads=sums.heads_text())
        write_checkpoint(path, now)
        if now.history and not now.pending:
            report(now.history[-1])
    write_atomically(folder / "model.safetensors", save(now.model))
    return now.model


def first_checkpoint(study: Study, origin: Origin | None = None) -> Checkpoint:
    """A run before its first sum, with the study's initial model."""
    pending = "statistics" if gathers_statistics(study) else ""
    return Checkpoint(0, to_arrays(build(study)), pending=pending, origin=origin or Origin())


def step(sums: Sums, now: Checkpoint) -> Checkpoint:
    """A run one sum further: statistics, a training round, or its evaluation."""
    if now.pending == "statistics":
        names = tuple(statistics_shapes(sums.study))
        lanes = sums.over("statistics", 1, now.model, 1).decoded.exacts
        found = from_lanes(lanes, names) | counts_from_lane(lanes)
        return replace(now, model=now.model | found, pending="")
    started = time.monotonic()
    if now.pending == "evaluate":
        *before, line = now.history
        line = line | described(evaluate(sums, now.round, now.model))
        line["seconds"] = float(str(line["seconds"])) + time.monotonic() - started
        return replace(now, pending="", history=(*before, line))
    return _trained(sums, now, started)


def _trained(sums: Sums, now: Checkpoint, started: float) -> Checkpoint:
    study, number = sums.study, now.round + 1
    total = sums.over("train", number, now.model, study.training.num_server_rounds)
    state, model = apply(study, now.optimizer, now.model, total.decoded)
    line: dict[str, object] = {"event": "round", "round": number}
    line |= {"sites": list(total.contributors), "missing": list(total.missing)}
    line["seconds"] = time.monotonic() - started
    pending = "evaluate" if _evaluates(study, number) else ""
    history = (*now.history, line)
    return replace(
        now, round=number, model=model, optimizer=state, history=history, pending=pending
    )


def first_model(sums: Sums) -> Arrays:
    """The initial model, with the sites' feature statistics where the study asks for them."""
    first = first_checkpoint(sums.study)
    return step(sums, first).model if first.pending else first.model


def apply(
    study: Study, state: OptimizerState, model: Arrays, total: Decoded
) -> tuple[OptimizerState, Arrays]:
    """One step of the coordinator's optimizer along what the sites summed."""
    weights, statistics = split(model)
    step = optimizer(study.training)
    update = shared_update(study, total) if _is_shared(study) else mean_update(total)
    state, weights = step(study.training, state, weights, update)
    return state, weights | statistics


def mean_update(total: Decoded) -> Arrays:
    """The weighted mean update; a tensor that no site gave weight stays as it is."""
    update: Arrays = {}
    for name, value in total.sums.items():
        mean = total.mean(name)
        update[name] = np.asarray(np.zeros_like(value) if mean is None else mean, np.float32)
    return update


def shared_update(study: Study, total: Decoded) -> Arrays:
    """Down the noisy gradient: the summed clipped gradients over the persons expected in a step.

    The noise in the sum is the sites' together, as if drawn once.
    """
    declared = int(total.exacts["declared_units"])
    expected = max(study.privacy.sampling_rate * declared, 1e-12)
    values: dict[str, FloatArray] = total.sums or _from_grid(study, total)
    return {name: np.asarray(-value / expected, np.float32) for name, value in values.items()}


def _from_grid(study: Study, total: Decoded) -> dict[str, FloatArray]:
    """Gradient sums that came as whole grid units, each in a word of its own."""
    grid = grid_of(study, total.layout.sites, parameters_of(study))
    step = np.float64(study.privacy.max_grad_norm / grid.clip_units)
    lanes = total.exacts.items()
    return {name: value * step for name, value in lanes if name != "declared_units"}


def evaluate(sums: Sums, number: int, model: Arrays) -> Evaluation:
    """What the persons kept for evaluation say of a round's model, from summed counts."""
    study = sums.study
    rounds = [n for n in range(1, study.training.num_server_rounds + 1) if _evaluates(study, n)]
    total = sums.over("evaluate", rounds.index(number) + 1, model, len(rounds))
    lanes = {name: int(value) for name, value in total.decoded.exacts.items()}
    return read_evaluation(lanes, study)


def _is_shared(study: Study) -> bool:
    return study.privacy.mode == "distributed"


def _evaluates(study: Study, number: int) -> bool:
    last = number == study.training.num_server_rounds
    return last or number % study.training.evaluate_every == 0
