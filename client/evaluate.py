"""What a model makes of a site's clips: probabilities, and the counts that are summed."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from client.data.arrays import SiteData
from client.train import Batch, to_batch
from common.affect import modality_views, person_counts, shown, view_counts
from common.config import Study

EVALUATION_BATCH = 1024


def probabilities(model: torch.nn.Module, batch: Batch) -> NDArray[np.float32]:
    """Class probabilities (N, C) of every clip."""
    model.eval()
    parts = [np.zeros((0, batch.y_BC.shape[1]), dtype=np.float32)]
    with torch.no_grad():
        for index_B in torch.arange(len(batch.y_BC)).split(EVALUATION_BATCH):
            chosen = batch.take(index_B.to(batch.y_BC.device))
            logits_BC = model(chosen.x, chosen.present_BM)
            parts.append(torch.softmax(logits_BC, dim=-1).cpu().numpy())
    return np.concatenate(parts)


def evaluation_counts(
    model: torch.nn.Module, data: SiteData, study: Study, device: torch.device
) -> Mapping[str, int]:
    """Every lane of an evaluation, counted over the clips given."""
    ones_N = np.ones(len(data), dtype=np.float32)
    batch = to_batch(data, ones_N, device)
    said_NC = probabilities(model, batch)
    answered_N = np.asarray(data.present_NM.any(axis=1) & np.isfinite(said_NC).all(axis=1))
    lanes = person_counts(_finite(said_NC), data.y_NC, data.person_N, study.classes, answered_N)
    for view, names in modality_views(tuple(study.modalities)).items():
        shown_NM = shown(names, tuple(study.modalities), data.present_NM)
        hidden = Batch(batch.x, torch.from_numpy(shown_NM).to(device), batch.y_BC, batch.weight_B)
        seen = _finite(probabilities(model, hidden))
        lanes |= view_counts(view, seen, data.y_NC, study.classes, shown_NM)
    return lanes


def _finite(said_NC: NDArray[np.float32]) -> NDArray[np.float32]:
    """Even probabilities where a model that diverged gives none: it abstains there."""
    even = np.float32(1 / said_NC.shape[1])
    bad_N = np.asarray(~np.isfinite(said_NC).all(axis=1))
    return np.where(bad_N[:, None], even, said_NC).astype(np.float32)
