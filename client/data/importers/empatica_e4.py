"""Folders of an Empatica E4: one CSV a signal, its start in the first line, its rate in the second.

A folder with an EDA.csv, BVP.csv or the like is a recording. The person is the first folder below
the source, the session what lies between. Signals start at different moments (the heart rate ten
seconds late); they are brought to one start. IBI.csv is made of the pulse and is left out.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from client.data.importers.recordings import (
    Interval,
    Part,
    Recording,
    clips_of,
    length_of,
    on_one_clock,
    read_labels,
    window_from,
)
from client.data.importers.sources import files_below, number_at, read_lines
from client.data.importers.writing import Clip, Corpus, Lazy, read_sites
from common.errors import DataError

SIGNALS = {"ACC.csv": "acc", "BVP.csv": "bvp", "EDA.csv": "eda", "HR.csv": "hr", "TEMP.csv": "temp"}
AXES = {"ACC.csv": 3}
G = 64.0
HIGHEST_RATE_HZ = 1000.0
Arrays = Mapping[str, npt.NDArray[Any]]


def read_empatica_e4(source: Path, tags: str = "", window_s: str = "60") -> Corpus:
    """Read every recording below a folder, labels.csv and sites.json.

    Args:
        source: PERSON/ACC.csv … or PERSON/SESSION/ACC.csv …
        tags: names of the stretches between presses of the button, separated by commas, the
            first before the first press; an empty name leaves a stretch out.
        window_s: length of a clip in seconds.

    Raises:
        DataError: when there is no recording, or a file is not as the device writes it.
    """
    folders = sorted({p.parent for name in SIGNALS for p in files_below(source, f"*/**/{name}")})
    if not folders:
        raise DataError(f"{source}: expected recordings like PERSON/EDA.csv")
    labels, cut_s = read_labels(source), window_from(window_s)
    names = [name.strip() for name in tags.split(",")] if tags else []
    clips: list[Clip] = []
    arrays: dict[str, Any] = {}
    for folder in folders:
        person, *inner = folder.relative_to(source).parts
        relative = "signals/" + "_".join((person, *inner)) + ".npz"
        parts = _parts(folder)
        recording = Recording(
            person=person,
            session="/".join(inner),
            media={"physio": relative},
            length_s=length_of(on_one_clock(parts)),
            intervals=tuple(_tagged(folder, parts, names)) if names else None,
        )
        clips += clips_of(recording, labels, cut_s)
        arrays[relative] = lambda folder=folder: on_one_clock(_parts(folder))
    return Corpus(clips, read_sites(source), arrays=Lazy(arrays))


def _parts(folder: Path) -> dict[str, list[Part]]:
    found = {name: folder / file for file, name in SIGNALS.items() if (folder / file).exists()}
    return {name: [read_signal(path)] for name, path in found.items()}


def read_signal(path: Path) -> Part:
    """Return start (seconds since 1970), values and rate of one of the device's files.

    Raises:
        DataError: when it is not as the device writes it.
    """
    lines = read_lines(path)
    if len(lines) < 3:
        raise DataError(f"{path}: expected start, rate and values; found {len(lines)} lines")
    start = number_at(path, 1, lines[0].split(",")[0])
    rate_hz = number_at(path, 2, lines[1].split(",")[0])
    if not (start > 0 and 0 < rate_hz <= HIGHEST_RATE_HZ):
        raise DataError(f"{path}:2: expected a start and a rate in Hz, found {rate_hz:g}")
    axes = AXES.get(path.name, 1)
    try:
        values = np.loadtxt(lines[2:], delimiter=",", ndmin=2, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path}: expected numbers: {str(error)[:80]}") from None
    if values.shape[1] != axes:
        raise DataError(f"{path}:3: expected {axes} numbers in a line, found {values.shape[1]}")
    if axes == 3:
        return start, values / G, rate_hz
    return start, values[:, 0], rate_hz


def _tagged(folder: Path, parts: Mapping[str, list[Part]], names: list[str]) -> Iterator[Interval]:
    """Yield the stretches between presses of the button that have a name."""
    path = folder / "tags.csv"
    first = min(start for some in parts.values() for start, _, _ in some)
    length_s = length_of(on_one_clock(parts))
    has_any = path.exists() and path.stat().st_size
    lines = [line for line in read_lines(path) if line.strip()] if has_any else []
    presses = [number_at(path, i, line) - first for i, line in enumerate(lines, start=1)]
    if any(not 0 <= press <= length_s for press in presses) or presses != sorted(presses):
        raise DataError(f"{path}: expected presses inside the recording, in order")
    if len(names) != len(presses) + 1:
        raise DataError(
            f"{path}: {len(presses)} presses make {len(presses) + 1} stretches, but "
            f"--option tags names {len(names)}"
        )
    bounds = [0.0, *presses, length_s]
    for name, start_s, end_s in zip(names, bounds, bounds[1:], strict=False):
        if name and end_s > start_s:
            yield Interval(start_s, end_s, {"label": name})
