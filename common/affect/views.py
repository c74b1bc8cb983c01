"""What each modality contributes: what a model reaches with one alone, and with one left out.

A view is a subset of the study's modalities that the model is shown. Per view and class two
integers are counted: clips right and clips there are, over the clips that have something to show;
per dimension the sums of its CCC, per label the counts of its F1. None has an interval: that would
take the products of every view by person.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from common.affect.moments import Lanes

Views = dict[str, tuple[str, ...]]


def modality_views(modalities: Sequence[str]) -> Views:
    """Name the views of a study: each modality alone, and, from three on, each one left out."""
    names = tuple(sorted(modalities))
    if len(names) == 1:
        return {}
    views: Views = {f"only {name}": (name,) for name in names}
    if len(names) > 2:
        views |= {f"without {name}": tuple(n for n in names if n != name) for name in names}
    return views


def shown(
    view: Sequence[str], modalities: Sequence[str], present_NM: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return presence with all but the view's modalities hidden; columns are sorted names."""
    kept_M = np.array([name in view for name in sorted(modalities)], dtype=np.bool_)
    return np.logical_and(present_NM, kept_M)


def view_lanes(classes: Sequence[str], views: Mapping[str, object]) -> tuple[str, ...]:
    """Name the integers that a site contributes for these views."""
    pairs = ((view, what) for view in views for what in ("right", "count"))
    return tuple(lane for view, what in pairs for lane in _names(view, what, classes))


def view_counts(
    view: str,
    probabilities_NC: NDArray[np.floating],
    y_NC: NDArray[np.floating],
    classes: Sequence[str],
    shown_NM: NDArray[np.bool_],
) -> Lanes:
    """Count one view's predictions into its lanes; clips that show nothing are left out.

    Args:
        view: its name.
        probabilities_NC: what the model says when it is shown the view.
        y_NC: label distribution per clip.
        classes: the study's classes, in the order of the columns.
        shown_NM: what `shown` returned for the view.
    """
    seen_N = shown_NM.any(axis=1)
    truth_N, given_N = y_NC[seen_N].argmax(axis=1), probabilities_NC[seen_N].argmax(axis=1)
    right_C = np.bincount(truth_N[truth_N == given_N], minlength=len(classes))
    count_C = np.bincount(truth_N, minlength=len(classes))
    names = (*_names(view, "right", classes), *_names(view, "count", classes))
    return dict(zip(names, map(int, (*right_C, *count_C)), strict=True))


def view_uars(
    lanes: Mapping[str, int], classes: Sequence[str], views: Mapping[str, object]
) -> dict[str, float | None]:
    """Read each view's UAR from the lanes summed over sites; None where no clip shows it."""
    return {view: _uar(lanes, classes, view) for view in views}


def _uar(lanes: Mapping[str, int], classes: Sequence[str], view: str) -> float | None:
    pairs = zip(_names(view, "right", classes), _names(view, "count", classes), strict=True)
    recalls = [lanes[right] / lanes[count] for right, count in pairs if lanes[count] > 0]
    return sum(recalls) / len(recalls) if recalls else None


def dimension_prefix(view: str, dimension: str) -> str:
    """How the lanes of one view of a dimension begin."""
    return f"view/{view}/dimension/{dimension}/"


def label_view_lanes(labels: Sequence[str], views: Mapping[str, object]) -> tuple[str, ...]:
    """Name the integers that a site contributes for these views of its labels."""
    return tuple(lane for view in views for lane in _label_names(view, labels))


def label_view_counts(view: str, labels: Sequence[str], counts_NK: NDArray[np.int64]) -> Lanes:
    """Count one view's answers into its lanes, from `labels.answer_counts`."""
    sums = map(int, counts_NK[:, : 3 * len(labels)].sum(axis=0))
    return dict(zip(_label_names(view, labels), sums, strict=True))


def view_macro_f1(lanes: Mapping[str, int], labels: Sequence[str], view: str) -> float | None:
    """Read one view's F1 over the labels that hold somewhere; None where none does."""
    values = np.array([lanes[lane] for lane in _label_names(view, labels)], dtype=np.float64)
    right_L, held_L, said_L = np.split(values, 3)
    f1_L = (2 * right_L / np.maximum(held_L + said_L, 1))[held_L > 0]
    return float(f1_L.mean()) if len(f1_L) else None


def _label_names(view: str, labels: Sequence[str]) -> list[str]:
    counts = ("right", "held", "said")
    return [f"view/{view}/label/{what}/{name}" for what in counts for name in labels]


def _names(view: str, what: str, classes: Sequence[str]) -> list[str]:
    return [f"view/{view}/{what}/{name}" for name in classes]
