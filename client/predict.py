"""A finished run's model on recordings of one's own: probabilities, and how good they are."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from client.data.arrays import SiteData
from client.data.load import load_site_data
from client.evaluate import probabilities
from client.session import presence
from client.train import device_of, to_batch
from common.affect import Metrics, metrics_from_lanes, person_counts
from common.config import Study
from common.errors import ConfigError, ProtocolError
from common.models.registry import build
from common.parameters import load_arrays
from common.settings import load_study
from common.standardise import split, standardise


@dataclass(frozen=True)
class Predicted:
    """What a model says of every clip of a manifest.

    Args:
        study: the run's study.
        data: the clips.
        probabilities_NC: class probabilities, in the order of study.classes.
    """

    study: Study
    data: SiteData
    probabilities_NC: NDArray[np.float32]


@dataclass(frozen=True)
class PersonRow:
    """How well one person's clips were read."""

    person_id: str
    clips: int
    right: int
    uar: float


def predict(run: Path, manifest: Path, *, labels: bool, device: str = "auto") -> Predicted:
    """Read a manifest and let a finished run's model judge every clip.

    Args:
        run: a run's folder.
        manifest: a .csv or .parquet file.
        labels: whether every row must have a label.
        device: where to compute.

    Raises:
        ConfigError: the run is not finished, or not a run.
        DataError: the manifest or a recording is wrong.
    """
    study, model, statistics = _finished(run)
    on = device_of(device)
    data = load_site_data(study, manifest, None, labels=labels)
    data = replace(data, x=standardise(data.x, presence(data), statistics))
    batch = to_batch(data, np.ones(len(data), dtype=np.float32), on)
    return Predicted(study, data, probabilities(model.to(on), batch))


def _finished(run: Path) -> tuple[Study, torch.nn.Module, dict[str, NDArray[np.float32]]]:
    path = run / "model.safetensors"
    if not path.is_file():
        raise ConfigError(
            f"{run} holds no finished run: expected model.safetensors and study.yaml in it."
        )
    study = load_study(str(run / "study.yaml"))
    try:
        weights, statistics = split(load_file(path))
        model = build(study)
        load_arrays(model, weights)
    except (SafetensorError, ProtocolError) as error:
        raise ConfigError(f"{path} is not the model of {run / 'study.yaml'}: {error}") from error
    return study, model, statistics


def write_probabilities(predicted: Predicted, out: Path) -> None:
    """Write one row a clip: sample_id, person_id, label (the likeliest), p_CLASS; mode 0600."""
    data, classes = predicted.data, predicted.study.classes
    columns: dict[str, object] = {
        "sample_id": list(data.sample_ids),
        "person_id": [data.person_ids[person] for person in data.person_N],
        "label": [classes[index] for index in predicted.probabilities_NC.argmax(axis=1)],
    }
    for column, name in enumerate(classes):
        columns[f"p_{name}"] = predicted.probabilities_NC[:, column]
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), out)
    out.chmod(0o600)


def measure(predicted: Predicted) -> Metrics:
    """Every figure of a labelled manifest, with intervals by person."""
    data, classes = predicted.data, predicted.study.classes
    answered_N = np.asarray(data.present_NM.any(axis=1))
    lanes = person_counts(predicted.probabilities_NC, data.y_NC, data.person_N, classes, answered_N)
    return metrics_from_lanes(lanes, classes)


def by_person(predicted: Predicted) -> tuple[PersonRow, ...]:
    """How well each person's clips were read, worst first."""
    data = predicted.data
    truth_N, given_N = data.y_NC.argmax(axis=1), predicted.probabilities_NC.argmax(axis=1)
    rows = []
    for person, name in enumerate(data.person_ids):
        mine_N = data.person_N == person
        recalls = [
            float((given_N[mine_N & (truth_N == c)] == c).mean()) for c in set(truth_N[mine_N])
        ]
        right = int((truth_N[mine_N] == given_N[mine_N]).sum())
        if recalls:
            uar = sum(recalls) / len(recalls)
            rows.append(PersonRow(name, int(mine_N.sum()), right, uar))
    return tuple(sorted(rows, key=lambda row: row.uar))
