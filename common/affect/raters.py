"""How close a model's shares come to the raters' own, from moments by person.

Per person three numbers: clips, the divergence from the model to the raters, and the overlap of
both; in units of 2^-10. Both figures are means over clips, so their sums are all it takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

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

UNIT = 2**10
MOST_NATS = 8.0
"""A clip's divergence is cut here, so that one clip cannot fill a lane."""
PREFIX = "raters/"
SUMS = ("clips", "divergence", "overlap")


@dataclass(frozen=True)
class RaterMetrics:
    """What a model reached against the distributions of raters' votes.

    Args:
        divergence: mean Kullback-Leibler divergence of the raters' shares from the model's, in
            nats; 0 where they are equal; a clip counts for at most 8.
        overlap: mean share of the votes that both place alike: 1 - total variation.
    """

    divergence: Estimate
    overlap: Estimate


def rater_lanes() -> tuple[str, ...]:
    """Name the integers that a site contributes, in their order."""
    return moment_lanes(PREFIX, SUMS)


def rater_counts(
    probabilities_NC: NDArray[np.floating], y_NC: NDArray[np.floating], person_N: IntArray
) -> Lanes:
    """Count one site's predictions into the lanes.

    Args:
        probabilities_NC: the model's shares; rows sum to 1.
        y_NC: the raters' shares; rows sum to 1.
        person_N: whose clip it is.
    """
    least = np.exp(-MOST_NATS)
    said_NC = np.maximum(probabilities_NC.astype(np.float64), least * least)
    voted_NC = y_NC.astype(np.float64)
    ratio_NC = np.log(np.where(voted_NC > 0, voted_NC, 1.0)) - np.log(said_NC)
    nats_N = np.clip((voted_NC * ratio_NC).sum(axis=1), 0.0, MOST_NATS)
    overlap_N = np.minimum(voted_NC, probabilities_NC).sum(axis=1)
    row_N3 = np.stack([np.ones_like(nats_N), nats_N, overlap_N], axis=1) * UNIT
    by_person_PK = sum_by_person(np.rint(row_N3).astype(np.int64), person_N)
    return moment_counts(PREFIX, SUMS, by_person_PK)


def rater_metrics(lanes: Mapping[str, int], confidence: float = CONFIDENCE) -> RaterMetrics | None:
    """Read both figures from the lanes summed over sites; None without clips."""
    moments = read_moments(PREFIX, SUMS, lanes)
    if not moments.persons:
        return None
    interval = partial(estimate, moments=moments, confidence=confidence)
    return RaterMetrics(
        divergence=interval(partial(_mean, of=1), bounds=(0.0, MOST_NATS)),
        overlap=interval(partial(_mean, of=2), bounds=(0.0, 1.0)),
    )


def _mean(sum_K: NDArray[np.complex128], of: int) -> complex:
    return complex(sum_K[of] / sum_K[0])
