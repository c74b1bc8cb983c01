"""How much each clip's target weighs in the loss, so that rare classes count as frequent ones."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from client.data.arrays import SiteData
from common.targets import Targets

Values = NDArray[np.float32]
Weigh = Callable[[Values], Values]
"""Shares (N, C) -> a weight for each clip."""


def balanced(data: SiteData, targets: Targets, weigh: Weigh) -> tuple[Values, Values]:
    """Weigh a site's targets: the class by its frequency, each label's yes and no by theirs.

    Args:
        data: the clips.
        targets: the study's.
        weigh: what weighs clips by their shares.

    Returns:
        targets (N, T) and a weight for each clip that goes with all of them; where a study asks
        for classes alone, the targets are as they were.
    """
    return _weighed(data, targets, lambda _columns: weigh)


def balanced_over_sites(
    data: SiteData, targets: Targets, counts_T: Values
) -> tuple[Values, Values]:
    """Weigh a site's targets as `balanced` does, by their frequency over all sites.

    Args:
        data: the clips.
        targets: the study's.
        counts_T: how much of each target the training clips of all sites hold.
    """

    def weigh_of(columns: slice) -> Weigh:
        return partial(weights_over_sites, counts_C=counts_T[columns])

    return _weighed(data, targets, weigh_of)


def balanced_columns(targets: Targets) -> list[slice]:
    """The columns that are weighed together: the classes, and each label's yes and no."""
    first = len(targets.classes)
    start = first + 2 * len(targets.dimensions)
    labels = [slice(k, k + 2) for k in range(start, targets.columns, 2)]
    return [slice(0, first), *labels] if first else labels


def _weighed(
    data: SiteData, targets: Targets, weigh_of: Callable[[slice], Weigh]
) -> tuple[Values, Values]:
    y_NT = data.y_NC
    if not targets.scales:
        return y_NT, weigh_of(slice(None))(y_NT)
    y_NT = y_NT.copy()
    for columns in balanced_columns(targets):
        y_NT[:, columns] *= weigh_of(columns)(y_NT[:, columns])[:, None]
    return y_NT, np.ones(len(data), dtype=np.float32)


def weights_by_site(y_NC: Values) -> Values:
    """Inverse class frequency over all clips of the site, mean 1; only without privacy."""
    return _inverse_frequency(y_NC)


def weights_over_sites(y_NC: Values, counts_C: Values) -> Values:
    """Inverse class frequency over all clips of all sites, mean 1 over those; without privacy.

    Guarantees:
        Over the clips that were counted, the weights of each class that occurs add up alike. A
        class that nobody counted weighs nothing.
    """
    inverse_C = np.divide(1.0, counts_C, out=np.zeros_like(counts_C), where=counts_C > 0)
    occurring = max(int((counts_C > 0).sum()), 1)
    return np.asarray(y_NC @ inverse_C * (counts_C.sum() / occurring), dtype=np.float32)


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
