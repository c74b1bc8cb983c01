"""What a site adds to a sum: charge the ledger, do the work, noise it, encode it."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from client.balance import (
    balanced,
    balanced_columns,
    balanced_over_sites,
    weights_by_person,
    weights_by_site,
)
from client.charge import charge
from client.data.arrays import SiteData
from client.evaluate import evaluation_counts
from client.session import Session, presence, without
from client.train import (
    Batch,
    PrivateStep,
    Units,
    clipped_gradient,
    dropout_from,
    to_batch,
    train_openly,
    train_privately,
)
from common.budget import grid_of
from common.class_counts import COUNTS, counts_lane
from common.config import Study
from common.parameters import Arrays, to_arrays
from common.privacy.discrete import discrete_gaussian_table, round_to_grid, sample_share
from common.privacy.mechanism import CryptoStream
from common.secagg import ring
from common.secagg.derive import derive
from common.secagg.masks import Words
from common.secagg.roster import Context
from common.standardise import statistics_lanes
from common.sums import statistics_shapes
from common.targets import counts_classes, targets_of

Entropy = Callable[[int], bytes]


def contribution(session: Session, context: Context, model: Arrays) -> Words:
    """The encoded vector of one task, charged to the ledger before any recording is read.

    Args:
        session: the site in this run.
        context: which task, round and attempt.
        model: what the coordinator sent.

    Raises:
        BudgetSpent: the round would exceed the site's cap.
        DataError: a recording cannot be used, or a value does not fit its field.
    """
    entropy = entropy_of(session, context)
    work = {"statistics": _statistics, "evaluate": _evaluate, "train": _train}[context.task]
    with charge(session, context):
        return work(session, model, entropy)


def entropy_of(session: Session, context: Context) -> Entropy:
    """Where noise, sampling and rounding come from: the operating system.

    A simulated site whose policy names a reproducible_seed derives them from it instead, so
    that a run can be repeated; such a site protects nobody, and its reports say so. A second
    attempt at a round draws the same, so that a run that was taken up again repeats too.
    """
    seed = session.site.policy.reproducible_seed
    if seed is None:
        return os.urandom
    secret = hashlib.sha256(f"reproducible {seed}".encode()).digest()
    about = (session.site.name, context.task, context.round, 0)
    parts = (context.config_hash, context.model_hash, *about)
    counter = iter(range(1 << 30))
    return lambda size: derive(secret, "reproducible", *parts, next(counter), size=size)


def enough(session: Session, data: SiteData) -> SiteData:
    """The clips, where at least min_persons of the site stand behind them; else none.

    A modality that fewer persons have is left out, as if no clip had it.
    """
    fewest = session.site.policy.min_persons
    if _persons(data) < fewest:
        return data.take(np.zeros(len(data), dtype=np.bool_))
    few = [name for name, has_N in presence(data).items() if _persons(data, has_N) < fewest]
    return without(data, few)


def _persons(data: SiteData, rows: NDArray[np.bool_] | slice = slice(None)) -> int:
    return len(np.unique(data.person_N[rows]))


def _statistics(session: Session, model: Arrays, entropy: Entropy) -> Words:
    del model
    study, layout = session.study, session.member.policy.layouts["statistics"]
    data = enough(session, session.train_data)
    lanes = statistics_lanes(data.x, presence(data), tuple(statistics_shapes(study)))
    if counts_classes(study):
        lanes |= counts_lane(_known_of_enough(session, data))
    return ring.encode(layout, {}, {}, lanes, entropy)


def _known_of_enough(session: Session, data: SiteData) -> NDArray[np.float32]:
    """The targets (N, T) that are balanced, without those that fewer than min_persons have."""
    counted_NT = np.zeros_like(data.y_NC)
    for columns in balanced_columns(targets_of(session.study)):
        share_NC = data.y_NC[:, columns]
        if _persons(data, share_NC.max(axis=1, initial=0) > 0) >= session.site.policy.min_persons:
            counted_NT[:, columns] = share_NC
    return counted_NT


def _evaluate(session: Session, model: Arrays, entropy: Entropy) -> Words:
    data = enough(session, session.load(model, session.evaluation_data))
    fewest = session.site.policy.min_persons
    lanes = evaluation_counts(session.model, data, session.study, session.device, fewest)
    layout = session.member.policy.layouts["evaluate"]
    return ring.encode(layout, {}, {}, {name: np.int64(n) for name, n in lanes.items()}, entropy)


def _train(session: Session, model: Arrays, entropy: Entropy) -> Words:
    data = session.load(model, session.train_data)
    work: dict[str, Callable[[Session, SiteData, Entropy], Words]] = {
        "none": partial(_train_openly, counts_T=model.get(COUNTS)),
        "local": _train_locally,
        "distributed": _one_shared_step,
    }
    with dropout_from(int.from_bytes(entropy(7), "little"), session.device):
        return work[session.study.privacy.mode](session, data, entropy)


def _train_openly(
    session: Session, data: SiteData, entropy: Entropy, counts_T: NDArray[np.float32] | None
) -> Words:
    before = to_arrays(session.model)
    data = tune_openly(session, data, entropy, counts_T)
    return _encode_update(session, before, _clips_by_group(session, data), entropy)


def tune_openly(
    session: Session,
    data: SiteData,
    entropy: Entropy,
    counts_T: NDArray[np.float32] | None = None,
) -> SiteData:
    """Train the session's model on a site's clips, in place; returns those that it learned from.

    Args:
        session: the site in this run.
        data: its clips.
        entropy: orders the batches.
        counts_T: what all sites hold of each target, where weights go by that; else by the site.
    """
    study, data = session.study, enough(session, data)
    weight_N = np.ones(len(data), dtype=np.float32)
    if study.training.balance_classes and len(data):
        y_NC, weight_N = _balanced_openly(study, data, counts_T)
        data = replace(data, y_NC=y_NC)
    generator = torch.Generator().manual_seed(int.from_bytes(entropy(7), "little"))
    if len(data):
        batch = to_batch(data, weight_N, session.device)
        train_openly(session.model, batch, study, generator, session.arithmetic)
    return data


def _balanced_openly(
    study: Study, data: SiteData, counts_T: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if counts_T is None:
        return balanced(data, targets_of(study), weights_by_site)
    return balanced_over_sites(data, targets_of(study), counts_T)


def _train_locally(session: Session, data: SiteData, entropy: Entropy) -> Words:
    before = to_arrays(session.model)
    tune_locally(session, data, entropy)
    return _encode_update(session, before, _declared_by_group(session), entropy)


def tune_locally(session: Session, data: SiteData, entropy: Entropy) -> None:
    """Take the study's DP steps on the session's model, in place, with full noise."""
    stream = CryptoStream(entropy(32))
    batch, units, step = _private_inputs(session, data)
    given = session.study, stream, session.arithmetic
    train_privately(session.model, batch, units, step, *given)


def _one_shared_step(session: Session, data: SiteData, entropy: Entropy) -> Words:
    """Clip, bring to the grid, add this site's share of the noise, encode; masking follows."""
    study, stream = session.study, CryptoStream(entropy(32))
    layout = session.member.policy.layouts["train"]
    grid = grid_of(study, layout.sites, session.parameters)
    table = discrete_gaussian_table(grid.site_sigma)
    batch, units, step = _private_inputs(session, data)
    summed = clipped_gradient(session.model, batch, units, step, stream, session.arithmetic)
    noised: dict[str, np.ndarray] = {}
    for name, value in summed.items():
        in_units = value.double().cpu().numpy() * (grid.clip_units / step.max_grad_norm)
        whole = round_to_grid(stream, in_units, grid.box)
        noised[name] = whole + sample_share(stream, whole.size, table).reshape(whole.shape)
    declared = {"declared_units": np.int64(session.declared_units)}
    if layout.reals:
        return ring.encode_grid(layout, noised, {}, declared)
    return ring.encode(layout, {}, {}, {**noised, **declared}, entropy)


def _private_inputs(session: Session, data: SiteData) -> tuple[Batch, Units, PrivateStep]:
    """A site's clips, its units and the public constants of its DP steps."""
    study, privacy = session.study, session.study.privacy
    by_person = study.training.balance_classes and privacy.unit == "person"
    weight_N = np.ones(len(data), dtype=np.float32)
    if by_person:
        weigh = partial(weights_by_person, person_N=data.person_N)
        y_NC, weight_N = balanced(data, targets_of(study), weigh)
        data = replace(data, y_NC=y_NC)
    step = PrivateStep(
        privacy.sampling_rate,
        privacy.clips_per_person if privacy.unit == "person" else 1,
        privacy.max_grad_norm,
        float(privacy.noise_multiplier or 0),
        privacy.sampling_rate * session.declared_units,
    )
    return to_batch(data, weight_N, session.device), Units.of(data, privacy.unit), step


def _clips_by_group(session: Session, data: SiteData) -> dict[str, int]:
    """Weight name -> clips behind it at this site: those that have the modality, or all."""
    has = {name: int(mask.sum()) for name, mask in presence(data).items()}
    most = session.study.secure_aggregation.weight_cap
    return {
        name: min(has.get(name.removeprefix("weight/"), len(data)), most)
        for name in _weight_names(session)
    }


def _declared_by_group(session: Session) -> dict[str, int]:
    """Weight name -> declared persons; 0 for a modality that the site does not have."""
    most = session.study.secure_aggregation.weight_cap
    declared = min(session.site.policy.declared_persons, most)
    lacking = set(session.study.modalities) - set(session.modalities)
    return {
        name: 0 if name.removeprefix("weight/") in lacking else declared
        for name in _weight_names(session)
    }


def _weight_names(session: Session) -> tuple[str, ...]:
    return tuple(weight.name for weight in session.member.policy.layouts["train"].weights)


def _encode_update(
    session: Session, before: Arrays, counts: dict[str, int], entropy: Entropy
) -> Words:
    """The change that training made, cut to the agreed norm, with its weights."""
    layout = session.member.policy.layouts["train"]
    after = to_arrays(session.model)
    update = {real.name: after[real.name] - before[real.name] for real in layout.reals}
    norm = float(np.sqrt(sum(np.square(v, dtype=np.float64).sum() for v in update.values())))
    if not np.isfinite(norm):  # training diverged: the site adds nothing, and says nothing of it
        update = {name: np.zeros_like(value) for name, value in update.items()}
        counts, norm = dict.fromkeys(counts, 0), 0.0
    most = session.study.secure_aggregation.update_norm
    scale = np.float32(min(1.0, 0.999 * most / max(norm, 1e-12)))
    return ring.encode(layout, {n: v * scale for n, v in update.items()}, counts, {}, entropy)
