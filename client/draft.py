"""A first study for recordings that have none: classes, modalities and split from manifests."""

from datetime import date
from pathlib import Path

from client.data.cells import number, shares_of
from client.data.manifest import DIMENSIONS, Manifest, read_manifest
from client.data.readers.vectors import read_vectors
from client.data.table import Table, read_table
from common.config import Modality, Model, Split, Study, Training
from common.errors import DataError
from common.inputs import kind_of
from common.ratings import Dimension

FOLDS = 5
UNDER_PRIVACY = """\
under_privacy:  # everybody in every step, gradients cut to one length; docs/usefulness.md says why
  distributed:
    normalise: none
    training: {num_server_rounds: 12, server_learning_rate: 4.0, server_momentum: 0.5}
    privacy: {sampling_rate: 1.0, max_grad_norm: 0.1, clips_per_person: 128}
    up_to_epsilon:
      3: {training: {server_learning_rate: 2.0}}
  local:
    normalise: none
    training:
      num_server_rounds: 12
      local_steps: 1
      learning_rate: 1.0
      server_learning_rate: 2.5
      server_momentum: 0.5
    privacy: {sampling_rate: 1.0, max_grad_norm: 0.1, clips_per_person: 128}
    secure_aggregation: {weight_cap: 64}  # persons; the lower, the finer the grid of the sum
    up_to_epsilon:
      3: {training: {server_learning_rate: 1.0}}
"""
"""What a first study says under privacy: settings that did well on several corpora."""
EVALUATED = ("test", "validation")
SCALES = ((0.0, 1.0), (-1.0, 1.0), (1.0, 5.0), (-3.0, 3.0), (1.0, 7.0), (1.0, 9.0), (0.0, 100.0))
"""Usual scales of ratings, narrowest first."""


def draft_study(name: str, manifests: tuple[Path, ...]) -> Study:
    """A study over manifests: what they hold, with settings that do for small corpora.

    Valence, arousal and dominance become dimensions with the narrowest usual scale that holds every
    rating; whoever knows how they were rated should look at it.

    Args:
        name: the study's.
        manifests: every site's table.

    Raises:
        DataError: a manifest cannot be read, or names one class alone, nothing to learn, or no
            modality.
    """
    tables = [read_table(path) for path in manifests]
    classes = sorted({label for table in tables for label in _labels(table)})
    dimensions = _dimensions(tables)
    read = [read_manifest(path, classes, Study().purpose, date.today()) for path in manifests]
    found = {name: one for table in read for name, one in _modalities(table).items()}
    if len(classes) == 1 or not (classes or dimensions) or not found:
        raise DataError(
            f"The manifests name {len(classes)} classes and {len(found)} modalities; expected at "
            "least two classes in label or label_dist, or numbers in valence, arousal or "
            "dominance; and one modality."
        )
    splits = {row.split for table in read for row in table.rows}
    kept = next((one for one in EVALUATED if one in splits), "")
    return Study(
        name=name,
        classes=tuple(classes),
        dimensions=dimensions,
        modalities=dict(sorted(found.items())),
        normalise="federated",
        model=Model(hidden=0, fusion="late"),
        training=Training(num_server_rounds=30, local_epochs=1, evaluate_every=10),
        split=Split(evaluate_on=kept) if kept else Split(folds=FOLDS),
    )


def _labels(table: Table) -> set[str]:
    found: set[str] = set()
    for row in table.rows:
        found |= set(shares_of(str(row.cells.get("label_dist") or "")) or ())
        found |= {str(row.cells.get("label") or "")} - {""}
    return found


def _dimensions(tables: list[Table]) -> dict[str, Dimension]:
    """The dimensions that every site has a column of, with some rating in it."""
    found = {}
    for name in DIMENSIONS:
        cells = [row.cells.get(name, "") for table in tables for row in table.rows]
        values = [value for cell in cells if (value := number(name, cell, _nowhere)) is not None]
        held = (s for s in SCALES if values and s[0] <= min(values) and max(values) <= s[1])
        scale = next(held, None)
        if scale and all(name in table.columns for table in tables):
            found[name] = Dimension(*scale)
    return found


def _nowhere(_said: str) -> None:
    """What is wrong with a cell is said when the manifest is read."""


def _modalities(manifest: Manifest) -> dict[str, Modality]:
    """Modality -> its settings, for the columns in which some row has something."""
    found: dict[str, Modality] = {}
    for row in manifest.rows:
        for name, source in row.sources.items():
            if name not in found:
                is_vector = kind_of(name) == "features"
                options = {"dim": int(read_vectors(source).shape[1])} if is_vector else {}
                found[name] = Modality(options=options)
    return found
