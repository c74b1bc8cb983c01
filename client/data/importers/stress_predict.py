"""Stress-Predict: windows of an Empatica E4 recording in and outside of stress tasks.

Source: Iqbal et al., Stress Monitoring Using Wearable Sensors: A Pilot Study and
Stress-Predict Dataset, Sensors 22, 2022. The protocol's order is the same for everyone, so
neither time nor order may be a feature.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from client.data.importers.writing import Clip, Corpus, read_sites
from client.data.readers.arrays import read_npz
from common.errors import DataError

WINDOW_S, STEP_S = 60, 30
MOST_STRAY_S = 6
CLASSES = ("baseline", "stress")
RATES_HZ = {"bvp": 64, "eda": 4, "temp": 4, "acc": 32, "hr": 1, "resp": 1}
UNITS = {"bvp": 10.0, "acc": 64.0}
Arrays = Mapping[str, npt.NDArray[Any]]


def read_stress_predict(source: Path) -> Corpus:
    """Read signals/*.npz and sites.json.

    Each person's signals are written anew in their units (µS, °C, g) and without the label.

    Raises:
        DataError: when there is no recording, or one lacks its labels.
    """
    files = sorted((source / "signals").glob("*.npz"))
    if not files:
        raise DataError(f"{source}: expected recordings in signals/*.npz")
    clips: list[Clip] = []
    arrays: dict[str, Arrays] = {}
    for path in files:
        recording = read_npz(path)
        if "label" not in recording or not set(RATES_HZ) & set(recording):
            raise DataError(f"{path}: expected arrays label and {', '.join(RATES_HZ)}")
        arrays[f"signals/{path.stem}.npz"] = signals_of(recording)
        clips += _clips(path.stem, recording["label"])
    return Corpus(clips, read_sites(source), arrays=arrays)


def signals_of(recording: Arrays) -> dict[str, npt.NDArray[np.float32]]:
    """Return the signals in their units, their rates in their names."""
    return {
        f"{name}@{rate}": (recording[name].astype(np.float64) / UNITS.get(name, 1.0)).astype(
            np.float32
        )
        for name, rate in RATES_HZ.items()
        if name in recording
    }


def windows(label_T: npt.NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Yield start in seconds and class of each window that strays at most 6 s from one class."""
    for start_s in range(0, len(label_T) - WINDOW_S + 1, STEP_S):
        stress_s = int((label_T[start_s : start_s + WINDOW_S] == 1).sum())
        if min(stress_s, WINDOW_S - stress_s) <= MOST_STRAY_S:
            yield start_s, int(2 * stress_s > WINDOW_S)


def _clips(person: str, label_T: npt.NDArray[Any]) -> Iterator[Clip]:
    for start_s, index in windows(label_T):
        cells = {
            "sample_id": f"{person}_{start_s:05d}",
            "person_id": person,
            "physio": f"signals/{person}.npz",
            "start_s": str(start_s),
            "end_s": str(start_s + WINDOW_S),
            "label": CLASSES[index],
        }
        yield Clip(person, cells)
