"""WESAD: a chest and a wrist device through rest, stress, amusement and meditation.

Signals of the wrist are kept (pulse, skin, temperature, movement), and of the chest what the
wrist has not (heart, muscle, breath). The pickles are read without unpickling. The
protocol's order differs between persons only in two variants: time must not be a feature.

Source: Schmidt et al., Introducing WESAD, a multimodal dataset for wearable stress and affect
detection, ICMI 2018.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from client.data.importers.recordings import Interval, Recording, clips_of, length_of, window_from
from client.data.importers.sources import files_below, read_lines
from client.data.importers.writing import Clip, Corpus, Lazy, read_sites
from client.data.readers.plain_pickle import read_plain_pickle
from common.errors import DataError

CLASSES = {1: "baseline", 2: "stress", 3: "amusement", 4: "meditation"}
WRIST = {"BVP": ("bvp", 64), "EDA": ("eda", 4), "TEMP": ("temp", 4), "ACC": ("acc", 32)}
CHEST = {"ECG": ("ecg", 700), "EMG": ("emg", 700), "Resp": ("resp", 700)}
LABEL_HZ = 700
G = 64.0
Arrays = dict[str, npt.NDArray[Any]]


def read_wesad(source: Path, window_s: str = "60") -> Corpus:
    """Read S2/S2.pkl and so on, with what each S2_readme.txt says of the person.

    Args:
        source: the folder that holds S2, S3, …
        window_s: length of a clip in seconds.

    Raises:
        DataError: when there is no recording, or one is not as published.
    """
    files = [p for p in files_below(source, "S*/S*.pkl") if p.stem == p.parent.name]
    if not files:
        raise DataError(f"{source}: expected recordings like S2/S2.pkl")
    cut_s = window_from(window_s)
    clips: list[Clip] = []
    arrays: dict[str, Any] = {}
    for path in files:
        relative = f"signals/{path.stem}.npz"
        clips += _clips(path, relative, cut_s)
        arrays[relative] = lambda path=path: signals_of(path)
    return Corpus(clips, read_sites(source), arrays=Lazy(arrays))


def signals_of(path: Path) -> Arrays:
    """Return a recording's signals in their units, rates in their names.

    Raises:
        DataError: when it is not as published.
    """
    return _signals(path, _tree(path))


def _clips(path: Path, relative: str, window_s: float) -> Iterator[Clip]:
    tree = _tree(path)
    recording = Recording(
        person=path.stem,
        session="",
        media={"physio": relative},
        length_s=length_of(_signals(path, tree)),
        groups=_groups(path.with_name(f"{path.stem}_readme.txt")),
        intervals=tuple(intervals(np.asarray(tree["label"]).ravel())),
    )
    return clips_of(recording, {}, window_s)


def intervals(label_T: npt.NDArray[Any]) -> Iterator[Interval]:
    """Yield the stretches of one of the four conditions; labels come at 700 Hz."""
    edges = np.flatnonzero(np.diff(label_T)) + 1
    bounds = [0, *edges.tolist(), len(label_T)]
    for first, last in itertools.pairwise(bounds):
        name = CLASSES.get(int(label_T[first])) if last > first else None
        if name:
            yield Interval(first / LABEL_HZ, last / LABEL_HZ, {"label": name})


def _tree(path: Path) -> Mapping[str, Any]:
    tree = read_plain_pickle(path)
    parts = tree.get("signal") if isinstance(tree, dict) else None
    fits = isinstance(parts, dict) and isinstance(parts.get("wrist"), dict)
    if not fits or not isinstance(tree.get("label"), np.ndarray):
        raise DataError(f"{path}: expected signal, with wrist and chest, and label")
    return dict(tree)


def _signals(path: Path, tree: Mapping[str, Any]) -> Arrays:
    found: Arrays = {}
    for device, wanted in (("wrist", WRIST), ("chest", CHEST)):
        for key, (name, rate_hz) in wanted.items():
            values = tree["signal"].get(device, {}).get(key)
            if values is None:
                continue
            if (
                not isinstance(values, np.ndarray)
                or values.ndim > 2
                or values.dtype.kind not in "iuf"
            ):
                raise DataError(f"{path}: {device} {key}: expected an array of numbers")
            whole = values.astype(np.float32) / (G if name == "acc" else 1.0)
            found[f"{name}@{rate_hz}"] = whole[:, 0] if whole.shape[1:] == (1,) else whole
    if not found:
        raise DataError(f"{path}: expected signals of wrist or chest")
    return found


def _groups(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    said = dict(re.findall(r"^(\w+)\s*:\s*(.+?)\s*$", "\n".join(read_lines(path)), re.MULTILINE))
    return {f"group_{new}": said.get(old, "") for new, old in (("age", "Age"), ("sex", "Gender"))}
