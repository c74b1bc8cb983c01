"""A clip's targets, from the cells of a manifest to the columns that the loss reads."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from client.data import cells
from client.data.arrays import FloatArray
from client.data.table import Cell
from common.config import Study
from common.targets import Scale, targets_of

if TYPE_CHECKING:
    from client.data.manifest import Row

NO_SCALES: Mapping[str, Scale] = MappingProxyType({})
ANSWERS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
Report = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """Which targets a study asks of a manifest.

    Args:
        classes: the study's classes.
        scales: its dimensions and labels.
        is_required: whether targets are needed: of every row, where a study asks for classes alone.
        votes: whether a row with a class must have label_dist.
    """

    classes: Sequence[str]
    scales: Mapping[str, Scale]
    is_required: bool
    votes: bool = False


def missing_targets(columns: Sequence[str], asked: Asked) -> Iterator[str]:
    """Yield what a study asks for and the table has no column for."""
    for name, scale in asked.scales.items():
        if scale.column not in columns:
            kind = "label" if scale.is_label else "dimension"
            yield (
                f"column {scale.column!r} is missing, from which the study reads the {kind} "
                f"{name}; add it, with empty cells where nobody was asked"
            )
    if asked.classes and not {"label", "label_dist"} & set(columns):
        yield "expected a column label or label_dist for the study's classes"
    elif asked.votes and "label_dist" not in columns:
        yield "column 'label_dist' is missing; training.class_target=raters reads the votes there"


def read_targets(
    row: Mapping[str, Cell], asked: Asked, report: Report
) -> tuple[tuple[float, ...], tuple[float | None, ...]]:
    """Return the share of each class, and the place on each scale.

    Where a study asks for classes alone, every row needs one; else a row may lack any target.
    """
    only_class = asked.is_required and not asked.scales
    label_C = cells.label(row, asked.classes, only_class, report)
    if asked.votes and label_C and not row.get("label_dist"):
        report("label_dist is empty; training.class_target=raters reads the votes there")
    found = [(name, scale, row.get(scale.column, "")) for name, scale in asked.scales.items()]
    places = tuple(_place(name, scale, cell, report) for name, scale, cell in found)
    return label_C, places


def any_known(places: Sequence[float | None]) -> bool:
    """Whether some place is known."""
    return any(place is not None for place in places)


def _place(name: str, scale: Scale, cell: Cell, report: Report) -> float | None:
    word = str(cell).strip().lower() if scale.is_label else ""
    value = ANSWERS[word] if word in ANSWERS else cells.number(scale.column, cell, report)
    if value is None:
        return None
    if not scale.least <= value <= scale.most:
        said = "yes, no, or a share from 0 to 1" if scale.is_label else "the study's range, "
        said += "" if scale.is_label else f"{scale.least:g} to {scale.most:g}"
        report(f"{scale.column}: {value:g} is not in {said} ({name})")
        return None
    return scale.place(value)


@dataclass(frozen=True)
class Rated:
    """What a manifest knows of one dimension or label.

    Args:
        is_label: whether it is a label.
        clips: how many have it.
        persons: of whom.
        mean: over clips; of a label, the share in which it holds; NaN without clips.
        spread: standard deviation over clips; NaN without clips.
    """

    is_label: bool
    clips: int
    persons: int
    mean: float
    spread: float


def rated(rows: Sequence["Row"], scales: Mapping[str, Scale]) -> dict[str, Rated]:
    """Say what the rows know of each dimension and label."""
    found = {}
    for column, (name, scale) in enumerate(scales.items()):
        known = [(row, row.places[column]) for row in rows if row.places]
        have = [(row.person_id, place) for row, place in known if place is not None]
        value_N = scale.least + scale.span * np.array([place for _, place in have])
        mean, spread = (value_N.mean(), value_N.std()) if have else (np.nan, np.nan)
        persons = len({person for person, _ in have})
        found[name] = Rated(scale.is_label, len(have), persons, float(mean), float(spread))
    return found


def target_columns(rows: Sequence["Row"], study: Study) -> FloatArray:
    """Return each row's targets in the columns of common.targets, as the study takes them."""
    targets, by_majority = targets_of(study), study.training.class_target == "majority"
    none_C = (0.0,) * len(targets.classes)
    class_NC = np.array([row.label_C or none_C for row in rows], dtype=np.float32)
    class_NC = class_NC.reshape(len(rows), len(targets.classes))
    if by_majority and targets.classes:
        class_NC = _largest(class_NC)
    if not targets.scales:
        return class_NC
    nobody = (None,) * len(targets.scales)
    place_NK = np.array([row.places or nobody for row in rows], dtype=np.float32)
    place_NK = place_NK.reshape(len(rows), len(targets.scales))
    if by_majority:
        first = len(targets.dimensions)
        votes_NL = place_NK[:, first:]
        place_NK[:, first:] = np.where(np.isnan(votes_NL), np.nan, votes_NL > 0.5)
    both_NK2 = np.nan_to_num(np.stack([place_NK, 1 - place_NK], axis=2))
    return np.concatenate([class_NC, both_NK2.reshape(len(rows), -1)], axis=1)


def _largest(share_NC: FloatArray) -> FloatArray:
    """All of a clip's share to its largest class, the first of several; zeros stay."""
    one_NC = np.eye(share_NC.shape[1], dtype=np.float32)[share_NC.argmax(axis=1)]
    return np.where(share_NC.any(axis=1, keepdims=True), one_NC, 0.0).astype(np.float32)
