"""F1, accuracy and calibration of labels that may hold together, from summed integers.

Per person, four integers a label: answers right among those where it holds, clips where it holds,
clips where the model says so, clips where it is known whether it holds. Their moments by person
give every F1 and the accuracy with intervals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from common.affect.calibration import calibration_counts, calibration_error, calibration_lanes
from common.affect.classes import CONFIDENCE, sum_by_person
from common.affect.moments import (
    Estimate,
    IntArray,
    Lanes,
    estimate,
    moment_counts,
    moment_lanes,
    read_moments,
)

PREFIX = "label/"
COUNTS = ("right", "held", "said", "known")
CALIBRATION = tuple(f"{PREFIX}calibration/{what}" for what in ("clips", "held", "probability"))


@dataclass(frozen=True)
class LabelMetrics:
    """What a model reached on labels that may hold together.

    Args:
        macro_f1: F1 averaged over the labels that hold somewhere.
        accuracy: share of answers, over labels and clips, that are right.
        f1: label -> F1 of saying that it holds, for labels that hold somewhere.
        held: label -> share of its known clips in which it holds.
        calibration_error: expected distance of the probability of yes from the share of yes, in
            ten bins over all labels; without an interval, as for classes.
        persons: persons evaluated.
        answers: pairs of a clip and a label whose truth is known.
        absent_labels: labels that hold nowhere, and are left out of macro_f1.
        confidence: coverage of every interval, by person.
    """

    macro_f1: Estimate
    accuracy: Estimate
    f1: dict[str, Estimate]
    held: dict[str, float]
    calibration_error: float
    persons: int
    answers: int
    absent_labels: tuple[str, ...]
    confidence: float


def label_lanes(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Name the integers that a site contributes for these labels, in their order."""
    moments = moment_lanes(PREFIX, _names(labels))
    return (*moments, *calibration_lanes(CALIBRATION)) if labels else ()


def label_counts(
    probability_NL: NDArray[np.floating],
    held_NL: NDArray[np.floating],
    person_N: IntArray,
    labels: tuple[str, ...],
) -> Lanes:
    """Count one site's answers into the lanes.

    Args:
        probability_NL: of each label; above one half says that it holds.
        held_NL: the share of raters who say so, more than one half holds; NaN where unknown.
        person_N: whose clip it is.
        labels: their names, in the order of the columns.
    """
    if not labels:
        return {}
    rows_NK = answer_counts(probability_NL, held_NL)
    some_N = np.isfinite(held_NL).any(axis=1)
    by_person_PK = sum_by_person(rows_NK[some_N], person_N[some_N])
    lanes = moment_counts(PREFIX, _names(labels), by_person_PK)
    known_NL = np.isfinite(held_NL)
    binned = calibration_counts(probability_NL[known_NL], held_NL[known_NL] > 0.5)
    return lanes | dict(zip(label_lanes(labels)[len(lanes) :], binned, strict=True))


def answer_counts(probability_NL: NDArray[np.floating], held_NL: NDArray[np.floating]) -> IntArray:
    """Return for each clip and label: right where it holds, holds, said, known."""
    known_NL, said_NL = np.isfinite(held_NL), probability_NL > 0.5
    holds_NL = np.nan_to_num(held_NL) > 0.5
    parts = holds_NL & said_NL, holds_NL, said_NL & known_NL, known_NL
    counts_NK: IntArray = np.concatenate(parts, axis=1).astype(np.int64)
    return counts_NK


def label_metrics(
    lanes: Mapping[str, int], labels: tuple[str, ...], confidence: float = CONFIDENCE
) -> LabelMetrics | None:
    """Read every figure from the lanes summed over sites; None where no answer is known."""
    if not labels:
        return None
    moments = read_moments(PREFIX, _names(labels), lanes)
    if not moments.persons:
        return None
    _, held_L, _, known_L = np.split(moments.sum_K, len(COUNTS))
    occurs_L = held_L > 0
    interval = partial(estimate, moments=moments, confidence=confidence, bounds=(0.0, 1.0))
    return LabelMetrics(
        macro_f1=interval(partial(_macro_f1, occurs_L=occurs_L)),
        accuracy=interval(_accuracy),
        f1={n: interval(partial(_f1, column=i)) for i, n in enumerate(labels) if occurs_L[i]},
        held={n: float(held_L[i] / known_L[i]) for i, n in enumerate(labels) if known_L[i]},
        calibration_error=calibration_error(lanes, CALIBRATION),
        persons=moments.persons,
        answers=int(known_L.sum()),
        absent_labels=tuple(name for i, name in enumerate(labels) if not occurs_L[i]),
        confidence=confidence,
    )


def _names(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{what}/{name}" for what in COUNTS for name in labels)


def _f1_of_all(sum_K: NDArray[np.complex128]) -> NDArray[np.complex128]:
    right_L, held_L, said_L, _ = np.split(sum_K, len(COUNTS))
    total_L = held_L + said_L
    return 2 * right_L / np.where(np.real(total_L) > 0, total_L, 1)


def _f1(sum_K: NDArray[np.complex128], column: int) -> complex:
    return complex(_f1_of_all(sum_K)[column])


def _macro_f1(sum_K: NDArray[np.complex128], occurs_L: NDArray[np.bool_]) -> complex:
    return complex(_f1_of_all(sum_K)[occurs_L].mean()) if occurs_L.any() else 0j


def _accuracy(sum_K: NDArray[np.complex128]) -> complex:
    """Wrong are those that hold and are not said, and those that are said and do not hold."""
    right_L, held_L, said_L, known_L = np.split(sum_K, len(COUNTS))
    return complex((known_L - held_L - said_L + 2 * right_L).sum() / known_L.sum())
