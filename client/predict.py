"""A finished run's model on recordings of one's own: probabilities, and how good they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pyarrow import csv
from safetensors import SafetensorError
from safetensors.numpy import load_file

from client.data.arrays import SiteData
from client.data.encoders.naming import encoders_given
from client.data.load import load_site_data
from client.evaluate import Said, Truth, counts_of, say
from client.session import presence
from client.train import device_of, to_batch
from common.affect import Evaluation, lanes_of, read_evaluation
from common.config import Study
from common.errors import ConfigError, DataError, ProtocolError
from common.models.registry import build
from common.parameters import Arrays, load_arrays
from common.settings import load_study
from common.standardise import split, standardise
from common.targets import targets_of


@dataclass(frozen=True)
class Predicted:
    """What a model says of every clip of a manifest.

    Args:
        study: the run's study.
        data: the clips.
        said: shares of the classes in the order of study.classes, and a place in its range for
            each dimension and label.
    """

    study: Study
    data: SiteData
    said: Said

    @property
    def shares(self) -> NDArray[np.float32]:
        """Shares of the classes."""
        return self.said.class_NC


@dataclass(frozen=True)
class PersonRow:
    """How well one person's clips were read.

    Args:
        person_id: who.
        clips: how many.
        right: whose class is right.
        uar: over the person's own classes; NaN where the study has none.
        error: mean distance from the ratings, as a share of their ranges, and of the labels from
            what holds; NaN where the study has neither.
    """

    person_id: str
    clips: int
    right: int
    uar: float
    error: float = float("nan")


def predict(
    run: Path, manifest: Path, *, labels: bool, device: str = "auto", encoders: Sequence[str] = ()
) -> Predicted:
    """Read a manifest and let a finished run's model judge every clip.

    Args:
        run: a run's folder.
        manifest: a .csv or .parquet file.
        labels: whether every row must have a label.
        device: where to compute.
        encoders: NAME=FOLDER of frozen encoders, beside those that the environment names.

    Raises:
        ConfigError: the run is not finished, or not a run; an encoder is not the study's.
        DataError: the manifest or a recording is wrong.
    """
    study, model, statistics = finished(run)
    on = device_of(device)
    known = encoders_given(study, encoders)
    data = load_site_data(study, manifest, None, labels=labels, encoders=known, device=on)
    data = replace(data, x=standardise(data.x, presence(data), statistics))
    batch = to_batch(data, np.ones(len(data), dtype=np.float32), on)
    return Predicted(study, data, say(model.to(on), batch, len(study.classes)))


def finished(run: Path) -> tuple[Study, torch.nn.Module, Arrays]:
    """The study of a run's folder, its model, and the feature statistics that came with it.

    Raises:
        ConfigError: the run is not finished, or its model is not its study's.
    """
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
    """Write one row a clip; mode 0600.

    The columns are sample_id and person_id; label (the likeliest) and p_CLASS; value_DIMENSION in
    the study's range; yes_LABEL, how likely it holds.
    """
    check_ending(out)
    data, said, targets = predicted.data, predicted.said, targets_of(predicted.study)
    columns: dict[str, object] = {
        "sample_id": list(data.sample_ids),
        "person_id": [data.person_ids[person] for person in data.person_N],
    }
    if targets.classes:
        best_N = said.class_NC.argmax(axis=1)
        columns["label"] = [targets.classes[index] for index in best_N]
    for column, name in enumerate(targets.classes):
        columns[f"p_{name}"] = said.class_NC[:, column]
    for place_N, (name, scale) in zip(said.place_NK.T, targets.scales.items(), strict=True):
        kind = "yes" if scale.is_label else "value"
        columns[f"{kind}_{name}"] = scale.least + place_N * np.float32(scale.span)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".csv":
        csv.write_csv(pa.table(columns), out)
    else:
        pq.write_table(pa.table(columns), out)
    out.chmod(0o600)


def check_ending(out: Path) -> None:
    """Refuse a file of probabilities whose ending says something else than it will be.

    Raises:
        ConfigError: neither .parquet nor .csv.
    """
    if out.suffix not in (".parquet", ".csv"):
        raise ConfigError(f"{out}: expected a file ending in .parquet or .csv.")


def measure(predicted: Predicted) -> Evaluation:
    """Every figure of a labelled manifest, with intervals by person; views are left out.

    Raises:
        DataError: no clip has any target.
    """
    study = predicted.study
    truth = Truth.of(predicted.data, targets_of(study), min_persons=1)
    lanes = dict.fromkeys(lanes_of(study), 0) | counts_of(predicted.said, truth, study)
    found = read_evaluation(lanes, study)
    if found.is_empty:
        raise DataError("evaluation: expected at least one labelled clip, found none")
    return replace(found, views={}, dimension_views={}, label_views={})


def by_person(predicted: Predicted) -> tuple[PersonRow, ...]:
    """How well each person's clips were read, worst first."""
    data, said = predicted.data, predicted.said
    truth = Truth.of(data, targets_of(predicted.study), min_persons=1)
    rows = []
    for person, name in enumerate(data.person_ids):
        mine_N = data.person_N == person
        class_NC, away_NK = truth.class_NC[mine_N], np.abs(truth.place_NK - said.place_NK)[mine_N]
        right, uar = _recall(class_NC, said.class_NC[mine_N])
        error = float(np.nanmean(away_NK)) if np.isfinite(away_NK).any() else math.nan
        if not (math.isnan(uar) and math.isnan(error)):
            rows.append(PersonRow(name, int(mine_N.sum()), right, uar, error))
    return tuple(sorted(rows, key=lambda row: -row.error if math.isnan(row.uar) else row.uar))


def _recall(truth_NC: NDArray[np.float32], said_NC: NDArray[np.float32]) -> tuple[int, float]:
    """Clips that are right, and the mean recall over the classes that occur; NaN without any."""
    known_N = truth_NC.any(axis=1)
    if not known_N.any():
        return 0, math.nan
    truth_N, given_N = truth_NC[known_N].argmax(axis=1), said_NC[known_N].argmax(axis=1)
    recalls = [float((given_N[truth_N == c] == c).mean()) for c in set(truth_N)]
    return int((truth_N == given_N).sum()), sum(recalls) / len(recalls)
