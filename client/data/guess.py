"""What could be guessed of a label without looking at a recording."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold
from sklearn.tree import DecisionTreeClassifier

from client.data.manifest import Manifest, Row

FOLDS = 5
Values = npt.NDArray[np.float64]


def guessed(manifest: Manifest, length_s: Sequence[float]) -> dict[str, float]:
    """Return UAR over persons not seen, from what should say nothing; NaN where it cannot be said.

    Args:
        manifest: its rows with their labels.
        length_s: of each row's clip; NaN where it has none.
    """
    rows = manifest.rows
    present = [[name in row.sources for name in manifest.modalities] for row in rows]
    evidence: Mapping[str, Values] = {
        "the presence of modalities": np.array(present, dtype=np.float64),
        "the length of a clip": np.array(length_s)[:, None],
        "the start of a clip": np.array([row.start_s for row in rows])[:, None],
    }
    label_N = np.array([int(np.argmax(row.label_C)) if any(row.label_C) else -1 for row in rows])
    return {name: _guess(values, label_N, rows) for name, values in evidence.items()}


def _guess(values: Values, label_N: npt.NDArray[np.int64], rows: Sequence[Row]) -> float:
    known = (label_N >= 0) & np.isfinite(values).all(axis=1)
    x, y = values[known], label_N[known]
    person = np.unique([row.person_id for row in rows], return_inverse=True)[1][known]
    folds = min(FOLDS, len(np.unique(person)))
    if folds < 2 or len(np.unique(y)) < 2 or not np.ptp(x, axis=0).any():
        return float("nan")
    guess = np.empty_like(y)
    for train, test in GroupKFold(folds).split(x, y, person):
        tree = DecisionTreeClassifier(max_depth=6, class_weight="balanced", random_state=0)
        guess[test] = tree.fit(x[train], y[train]).predict(x[test])
    return float(recall_score(y, guess, average="macro"))
