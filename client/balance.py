"""How much each clip's target weighs in the loss, so that rare classes count as frequent ones."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from client.data.arrays import SiteData
from common.targets import Targets

Values = NDArray[np.float32]
Weigh = Callable[[Values], Values]


def balanced(data: SiteData, targets: Targets, weigh: Weigh) -> tuple[Values, Values]:
    """Weigh a site's targets: the class by its frequency, each label's yes and no by theirs.

    Args:
        data: the clips.
        targets: the study's.
        weigh: shares (N, C) -> a weight for each clip.

    Returns:
        targets (N, T) and a weight for each clip that goes with all of them; where a study asks
        for classes alone, the targets are as they were.
    """
    y_NT, first = data.y_NC, len(targets.classes)
    if not targets.scales:
        return y_NT, weigh(y_NT)
    y_NT = y_NT.copy()
    blocks = [slice(0, first)] if first else []
    start = first + 2 * len(targets.dimensions)
    blocks += [slice(k, k + 2) for k in range(start, targets.columns, 2)]
    for block in blocks:
        y_NT[:, block] *= weigh(y_NT[:, block])[:, None]
    return y_NT, np.ones(len(data), dtype=np.float32)


def weights_by_site(y_NC: Values) -> Values:
    """Inverse class frequency over all clips of the site, mean 1; only without privacy."""
    return _inverse_frequency(y_NC)


def weights_by_person(y_NC: Values, person_N: NDArray[np.int64]) -> Values:
    """Inverse class frequency within each person's own clips, mean 1 for each person.

    Guarantees:
        A person's weights depend on that person's clips alone, so one person's gradient does
        not depend on anyone else and clipping it bounds what that person changes.
    """
    weight_N = np.ones(len(y_NC), dtype=np.float32)
    for person in np.unique(person_N):
        mine = person_N == person
        weight_N[mine] = _inverse_frequency(y_NC[mine])
    return weight_N


def _inverse_frequency(y_NC: Values) -> Values:
    """Weights of mean 1 over the clips that have a label; the others get none."""
    mass_C = y_NC.sum(0)
    inverse_C = np.divide(1.0, mass_C, out=np.zeros_like(mass_C), where=mass_C > 0)
    weight_N, known_N = y_NC @ inverse_C, y_NC.any(axis=1)
    mean = float(weight_N[known_N].mean()) if known_N.any() else 0.0
    return np.asarray(weight_N / max(mean, 1e-12), dtype=np.float32)
