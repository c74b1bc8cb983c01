"""UAR, F1, accuracy, log-loss and calibration of a classifier, from summed integer lanes.

Per person, three integers a class: clips right, clips there are, clips predicted. Their sums and
products (see moments) give every figure and its interval by person; a few more sums give the
confusion matrix, the log-loss and the calibration error.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from common.affect.calibration import (
    FIXED_POINT,
    calibration_counts,
    calibration_error,
    calibration_lanes,
    fixed_point,
)
from common.affect.metrics import Metrics
from common.affect.moments import (
    IntArray,
    Lanes,
    estimate,
    moment_counts,
    moment_lanes,
    read_moments,
)
from common.errors import ConfigError, DataError

CALIBRATION = ("calibration/clips", "calibration/right", "calibration/confidence")
MOST_NATS = 32.0
"""A clip's log-loss is cut here, so that one clip cannot fill a lane."""
CONFIDENCE = 0.95


def evaluation_lanes(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Name the integers that a site contributes to an evaluation, in their order."""
    return (
        *moment_lanes("", _person_names(classes)),
        *(f"confusion/{truth}/{given}" for truth in classes for given in classes),
        "abstained",
        "log_loss",
        *calibration_lanes(CALIBRATION),
    )


def person_counts(
    probabilities_NC: NDArray[np.floating],
    y_NC: NDArray[np.floating],
    person_N: IntArray,
    classes: tuple[str, ...],
    answered_N: NDArray[np.bool_] | None = None,
) -> Lanes:
    """Count one site's predictions into the lanes.

    Args:
        probabilities_NC: the model's probabilities; rows sum to 1.
        y_NC: label distribution per clip; its largest share is the clip's class.
        person_N: whose clip it is; any integers.
        classes: the study's classes, in the order of the columns.
        answered_N: False where the model abstained for want of any modality; default all True.

    Returns:
        One integer for each of `evaluation_lanes(classes)`; all zero without clips.

    Raises:
        ConfigError: if a probability is not finite.
        DataError: if the shapes do not agree.
    """
    _check(probabilities_NC, y_NC, person_N, classes)
    answered_N = np.ones(len(y_NC), dtype=bool) if answered_N is None else answered_N
    truth_NC = _one_hot(y_NC)
    given_NC = _one_hot(probabilities_NC) * answered_N[:, None]
    row_NK = np.concatenate([truth_NC * given_NC, truth_NC, given_NC], axis=1)
    confusion_CC = truth_NC.T @ given_NC
    right_N = np.asarray((truth_NC * given_NC).any(axis=1))
    nats_N = -(y_NC * np.log(np.maximum(probabilities_NC, np.exp(-MOST_NATS)))).sum(axis=1)
    lanes = moment_counts("", _person_names(classes), sum_by_person(row_NK, person_N))
    rest = [
        *confusion_CC.reshape(-1),
        np.sum(~answered_N),
        fixed_point(nats_N),
        *calibration_counts(probabilities_NC.max(axis=1, initial=0.0), right_N),
    ]
    names = evaluation_lanes(classes)[len(lanes) :]
    return lanes | dict(zip(names, map(int, rest), strict=True))


def metrics_from_lanes(
    lanes: Mapping[str, int], classes: tuple[str, ...], confidence: float = CONFIDENCE
) -> Metrics:
    """Read every figure from the lanes summed over sites.

    Raises:
        DataError: if there is no clip to evaluate.
    """
    moments = read_moments("", _person_names(classes), lanes)
    size = len(classes)
    _, count_C, _ = np.split(moments.sum_K, 3)
    clips = count_C.sum()
    if clips == 0:
        raise DataError("evaluation: expected at least one labelled clip at the sites, found none")
    occurs_C = count_C > 0
    interval = partial(estimate, moments=moments, confidence=confidence, bounds=(0.0, 1.0))
    confusion = [lanes[f"confusion/{truth}/{given}"] for truth in classes for given in classes]
    return Metrics(
        classes=classes,
        uar=interval(partial(_uar, occurs_C=occurs_C)),
        weighted_f1=interval(_weighted_f1),
        macro_f1=interval(partial(_macro_f1, occurs_C=occurs_C)),
        accuracy=interval(_accuracy),
        recall={
            c: interval(partial(_recall, column=i)) for i, c in enumerate(classes) if occurs_C[i]
        },
        confusion_CC=tuple(tuple(confusion[i * size : (i + 1) * size]) for i in range(size)),
        log_loss=lanes["log_loss"] / FIXED_POINT / clips,
        calibration_error=calibration_error(lanes, CALIBRATION),
        persons=moments.persons,
        clips=int(clips),
        abstained=lanes["abstained"],
        absent_classes=tuple(c for i, c in enumerate(classes) if not occurs_C[i]),
        confidence=confidence,
    )


def sum_by_person(row_NK: IntArray, person_N: IntArray) -> IntArray:
    """Add the rows of each person; one row per person, in ascending order of person."""
    persons_P, index_N = np.unique(person_N, return_inverse=True)
    total_PK = np.zeros((len(persons_P), row_NK.shape[1]), dtype=np.int64)
    np.add.at(total_PK, index_N, row_NK)
    return total_PK


def _person_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{what}/{c}" for what in ("right", "count", "predicted") for c in classes)


def _one_hot(share_NC: NDArray[np.floating]) -> IntArray:
    column_C = np.arange(share_NC.shape[1])
    one_hot_NC: IntArray = (share_NC.argmax(axis=1)[:, None] == column_C).astype(np.int64)
    return one_hot_NC


def _check(
    probabilities_NC: NDArray[np.floating],
    y_NC: NDArray[np.floating],
    person_N: IntArray,
    classes: tuple[str, ...],
) -> None:
    expected = (len(person_N), len(classes))
    if probabilities_NC.shape != expected or y_NC.shape != expected:
        raise DataError(
            f"evaluation: expected probabilities and labels of shape {expected}, "
            f"found {probabilities_NC.shape} and {y_NC.shape}"
        )
    if not np.isfinite(probabilities_NC).all():
        raise ConfigError(
            "evaluation: expected finite probabilities, found NaN or infinity: the model has "
            "diverged; lower training.learning_rate"
        )


def _f1(sum_K: NDArray[np.complex128]) -> NDArray[np.complex128]:
    right_C, count_C, predicted_C = np.split(sum_K, 3)
    total_C = count_C + predicted_C
    return 2 * right_C / np.where(np.real(total_C) > 0, total_C, 1)


def _uar(sum_K: NDArray[np.complex128], occurs_C: NDArray[np.bool_]) -> complex:
    right_C, count_C, _ = np.split(sum_K, 3)
    return complex((right_C[occurs_C] / count_C[occurs_C]).mean())


def _recall(sum_K: NDArray[np.complex128], column: int) -> complex:
    right_C, count_C, _ = np.split(sum_K, 3)
    return complex(right_C[column] / count_C[column])


def _macro_f1(sum_K: NDArray[np.complex128], occurs_C: NDArray[np.bool_]) -> complex:
    return complex(_f1(sum_K)[occurs_C].mean())


def _weighted_f1(sum_K: NDArray[np.complex128]) -> complex:
    _, count_C, _ = np.split(sum_K, 3)
    return complex((_f1(sum_K) * count_C).sum() / count_C.sum())


def _accuracy(sum_K: NDArray[np.complex128]) -> complex:
    right_C, count_C, _ = np.split(sum_K, 3)
    return complex(right_C.sum() / count_C.sum())
