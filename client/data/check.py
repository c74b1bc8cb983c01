"""What a manifest holds, and what could be guessed without looking at a recording."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold
from sklearn.tree import DecisionTreeClassifier

from client.data.cells import shares_of
from client.data.manifest import Manifest, Row, Source, read_manifest, refuse
from client.data.readers.audio import RATE_HZ, read_audio
from client.data.readers.images import frame_files, read_grey
from client.data.readers.media import decode_frames
from client.data.readers.signals import read_signals
from client.data.readers.text import read_text
from client.data.readers.vectors import read_vectors
from client.data.table import read_table
from common.errors import DataError
from common.inputs import kind_of

FOLDS = 5
SUSPICIOUS = 0.15


@dataclass(frozen=True)
class CheckReport:
    """A manifest that passed every check.

    Args:
        persons: how many.
        clips: how many may be used.
        left_out: how many may not, by reason of consent.
        splits: clips per split.
        coverage: share of clips that have each modality.
        labels: clips per class.
        chance: UAR of guessing, 1 / classes.
        guessed: UAR over persons not seen, from what should say nothing: which modalities
            are there, how long the clip is, where in the session it starts; NaN where it
            cannot be said.
    """

    persons: int
    clips: int
    left_out: Mapping[str, int]
    splits: Mapping[str, int]
    coverage: Mapping[str, float]
    labels: Mapping[str, int]
    chance: float
    guessed: Mapping[str, float]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What should worry whoever reads figures on this corpus."""
        return tuple(
            f"{name} alone reaches {100 * uar:.0f} UAR (chance {100 * self.chance:.0f}); "
            "a model may learn the protocol instead of the person"
            for name, uar in self.guessed.items()
            if uar > self.chance + SUSPICIOUS
        )


def check_manifest(path: Path, purpose: str = "research", today: date | None = None) -> CheckReport:
    """Check a manifest and decode every recording once.

    Args:
        path: the manifest.
        purpose: what the recordings are to be used for.
        today: the day on which consent must hold; None takes the clock's.

    Raises:
        DataError: with every problem of the table, or else of the recordings.
    """
    classes = _classes(path)
    manifest = read_manifest(path, classes, purpose, today or date.today(), labels=False)
    length_s = _decode_all(manifest)
    rows = manifest.rows
    present = np.array([[name in row.sources for name in manifest.modalities] for row in rows])
    label_N = np.array([int(np.argmax(row.label_C)) if row.label_C else -1 for row in rows])
    count = Counter(label_N[label_N >= 0].tolist())
    evidence = {
        "the presence of modalities": present.astype(float),
        "the length of a clip": np.array(length_s)[:, None],
        "the start of a clip": np.array([row.start_s for row in rows])[:, None],
    }
    return CheckReport(
        persons=len({row.person_id for row in rows}),
        clips=len(rows),
        left_out=manifest.left_out,
        splits=dict(Counter(row.split for row in rows)),
        coverage=dict(zip(manifest.modalities, present.mean(axis=0).tolist(), strict=True)),
        labels={name: count[i] for i, name in enumerate(classes)},
        chance=1 / max(len(classes), 1),
        guessed={name: _guess(values, label_N, rows) for name, values in evidence.items()},
    )


def _classes(path: Path) -> tuple[str, ...]:
    """Every class that the labels name; what is wrong with them is reported later."""
    found: set[str] = set()
    for row in read_table(path).rows:
        found |= set(shares_of(str(row.cells.get("label_dist", ""))) or ())
        found |= {str(row.cells.get("label", ""))} - {""}
    return tuple(sorted(found))


def _decode_all(manifest: Manifest) -> list[float]:
    """Return the length of each clip in seconds; NaN where nothing has a length."""
    problems: list[str] = []
    lengths: list[float] = []
    whole_s: dict[Source, float] = {}
    for row in manifest.rows:
        length_s = np.nan if row.end_s is None else row.end_s - row.start_s
        for name, source in row.sources.items():
            try:
                found_s = _length_s(kind_of(name), source, row, whole_s)
            except DataError as error:
                problems.append(f"{manifest.where(row.line)}: {name}: {error}")
            else:
                length_s = found_s if np.isnan(length_s) else length_s
        lengths.append(float(length_s))
    refuse(problems)
    return lengths


def _length_s(kind: str, source: Source, row: Row, whole_s: dict[Source, float]) -> float:
    """Decode a source, those of many rows only once; NaN where it has no length."""
    if kind not in WHOLE:
        return PROBES[kind](source, row)
    if source not in whole_s:
        whole_s[source] = PROBES[kind](source, row)
    if whole_s[source] <= row.start_s:
        raise DataError(f"lasts {whole_s[source]:g} s, but start_s is {row.start_s:g}")
    return whole_s[source] - row.start_s


def _guess(
    values: npt.NDArray[np.float64], label_N: npt.NDArray[np.int64], rows: Sequence[Row]
) -> float:
    """UAR over persons not seen; NaN where there are too few of them or nothing varies."""
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


def _audio(source: Source, row: Row) -> float:
    return len(read_audio(Path(str(source)), row.start_s, row.end_s)) / RATE_HZ


def _video(source: Source, row: Row) -> float:
    path = Path(str(source))
    if path.is_dir():
        for file in frame_files(path):
            read_grey(file, 8)
    else:
        decode_frames(path, (row.start_s, row.end_s), 1, 8)
    return np.nan


def _image(source: Source, row: Row) -> float:
    read_grey(Path(str(source)), 8)
    return np.nan


def _text(source: Source, row: Row) -> float:
    if isinstance(source, Path):
        read_text(source)
    return np.nan


def _physio(source: Source, row: Row) -> float:
    signals = read_signals(Path(str(source)))
    return max(len(signal.values) / signal.rate_hz for signal in signals.values())


def _features(source: Source, row: Row) -> float:
    read_vectors(source)
    return np.nan


WHOLE = frozenset({"image", "text", "physio", "features"})
PROBES: dict[str, Callable[[Source, Row], float]] = {
    "audio": _audio,
    "features": _features,
    "image": _image,
    "physio": _physio,
    "text": _text,
    "video": _video,
}
