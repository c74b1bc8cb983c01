"""What a model makes of a site's clips: answers, and the counts that are summed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from client.data.arrays import SiteData
from client.train import Batch, to_batch
from common.affect import (
    dimension_counts,
    label_counts,
    modality_views,
    person_counts,
    rater_counts,
    shown,
    view_counts,
)
from common.affect.dimensions import grid_lanes, grid_sums
from common.affect.labels import answer_counts
from common.affect.views import dimension_prefix, label_view_counts
from common.config import Study
from common.models.heads import answers
from common.targets import Targets, targets_of

EVALUATION_BATCH = 1024
Values = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Said:
    """What a model says of clips.

    Args:
        class_NC: shares of the classes.
        place_NK: a place from 0 to 1 for each dimension and label.
        answered_N: False where the model abstained for want of any modality, or has diverged.
    """

    class_NC: Values
    place_NK: Values
    answered_N: Mask


@dataclass(frozen=True)
class Truth:
    """What raters say of clips, where at least so many persons have it; else nobody does.

    Args:
        class_NC: shares of the classes; zeros where unknown.
        place_NK: a place from 0 to 1 for each dimension and label; NaN where unknown.
        person_N: whose clip it is.
    """

    class_NC: Values
    place_NK: Values
    person_N: NDArray[np.int64]

    @staticmethod
    def of(data: SiteData, targets: Targets, min_persons: int) -> "Truth":
        """A site's targets; one that fewer than `min_persons` persons have is left out whole."""
        first = len(targets.classes)
        pair_NK2 = data.y_NC[:, first:].reshape(len(data), len(targets.scales), 2)
        place_NK = np.where(pair_NK2.any(axis=2), pair_NK2[:, :, 0], np.nan)
        return Truth(data.y_NC[:, :first], place_NK, data.person_N).held_to(min_persons)

    def held_to(self, min_persons: int) -> "Truth":
        """Without the targets that fewer than `min_persons` persons have."""
        known = [self.class_NC.any(axis=1), *np.isfinite(self.place_NK).T]
        enough = [len(np.unique(self.person_N[one])) >= min_persons for one in known]
        few_K = ~np.array(enough[1:], dtype=np.bool_)
        place_NK = np.where(few_K, np.nan, self.place_NK).astype(np.float32)
        class_NC = self.class_NC if enough[0] else np.zeros_like(self.class_NC)
        return replace(self, class_NC=class_NC, place_NK=place_NK)

    def seen(self, seen_N: Mask, min_persons: int) -> "Truth":
        """Of the clips that show something, held to as many persons again."""
        class_NC = np.where(seen_N[:, None], self.class_NC, 0).astype(np.float32)
        place_NK = np.where(seen_N[:, None], self.place_NK, np.nan).astype(np.float32)
        return Truth(class_NC, place_NK, self.person_N).held_to(min_persons)


def say(model: torch.nn.Module, batch: Batch, classes: int) -> Said:
    """Let a model answer every clip; where it has diverged, it knows nothing."""
    model.eval()
    parts = [np.zeros((0, _scores(batch, classes)), dtype=np.float32)]
    with torch.no_grad():
        for index_B in torch.arange(len(batch.y_BC)).split(EVALUATION_BATCH):
            chosen = batch.take(index_B.to(batch.y_BC.device))
            score_BK = model(chosen.x, chosen.present_BM)
            parts.append(answers(score_BK, classes).cpu().numpy())
    said_NK = np.concatenate(parts)
    finite_N = np.asarray(np.isfinite(said_NK).all(axis=1))
    class_NC = _or_even(said_NK[:, :classes], finite_N, 1 / max(classes, 1))
    place_NK = _or_even(said_NK[:, classes:], finite_N, 0.5)
    present_N = batch.present_BM.any(dim=1).cpu().numpy()
    return Said(class_NC, place_NK, np.asarray(present_N & finite_N))


def evaluation_counts(
    model: torch.nn.Module,
    data: SiteData,
    study: Study,
    device: torch.device,
    min_persons: int = 1,
) -> Mapping[str, int]:
    """Every lane of an evaluation, counted over the clips given.

    Args:
        model: what is evaluated.
        data: clips of persons kept for evaluation.
        study: says what is asked.
        device: where the model is.
        min_persons: fewest persons behind a target's lanes, and behind a view's of it.
    """
    targets = targets_of(study)
    truth = Truth.of(data, targets, min_persons)
    batch = to_batch(data, np.ones(len(data), dtype=np.float32), device)
    lanes = counts_of(say(model, batch, len(targets.classes)), truth, study)
    for view, names in modality_views(tuple(study.modalities)).items():
        shown_NM = shown(names, tuple(study.modalities), data.present_NM)
        hidden = Batch(batch.x, torch.from_numpy(shown_NM).to(device), batch.y_BC, batch.weight_B)
        seen = truth.seen(np.asarray(shown_NM.any(axis=1)), min_persons)
        lanes |= _view(view, say(model, hidden, len(targets.classes)), seen, targets)
    return lanes


def counts_of(said: Said, truth: Truth, study: Study) -> dict[str, int]:
    """The lanes of an evaluation in which every modality is shown."""
    targets = targets_of(study)
    lanes: dict[str, int] = {}
    if targets.classes:
        known_N = truth.class_NC.any(axis=1)
        rows = said.class_NC[known_N], truth.class_NC[known_N], truth.person_N[known_N]
        lanes |= person_counts(*rows, targets.classes, said.answered_N[known_N])
        if study.training.class_target == "raters":
            lanes |= rater_counts(*rows)
    given, first = said.place_NK, len(targets.dimensions)
    dimensions, labels = tuple(targets.dimensions), tuple(targets.labels)
    rated_ND, held_NL = truth.place_NK[:, :first], truth.place_NK[:, first:]
    lanes |= dimension_counts(given[:, :first], rated_ND, truth.person_N, dimensions)
    return lanes | label_counts(given[:, first:], held_NL, truth.person_N, labels)


def _view(view: str, said: Said, truth: Truth, targets: Targets) -> dict[str, int]:
    lanes: dict[str, int] = {}
    if targets.classes:
        known_NM = np.asarray(truth.class_NC.any(axis=1))[:, None]
        lanes |= view_counts(view, said.class_NC, truth.class_NC, targets.classes, known_NM)
    for column, name in enumerate(targets.dimensions):
        rated_N = np.isfinite(truth.place_NK[:, column])
        sums_NK = grid_sums(said.place_NK[rated_N, column], truth.place_NK[rated_N, column])
        prefix = dimension_prefix(view, name)
        lanes |= dict(zip(grid_lanes(prefix), map(int, sums_NK.sum(axis=0)), strict=True))
    if targets.labels:
        first = len(targets.dimensions)
        counts_NK = answer_counts(said.place_NK[:, first:], truth.place_NK[:, first:])
        lanes |= label_view_counts(view, tuple(targets.labels), counts_NK)
    return lanes


def _scores(batch: Batch, classes: int) -> int:
    """Scores of a model whose targets have so many columns."""
    return (batch.y_BC.shape[1] + classes) // 2


def _or_even(said_NK: Values, finite_N: Mask, even: float) -> Values:
    """Even answers where a model that diverged gives none."""
    return np.where(finite_N[:, None], said_NK, np.float32(even)).astype(np.float32)
