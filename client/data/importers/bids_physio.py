"""BIDS: physiological recordings (*_physio.tsv.gz), what their sidecars say, and events.

A run's recordings (such as recording-cardiac and recording-eda) share one clock and become one
file. Sidecars are inherited from the folders above, as BIDS has it. Events with a duration
are the labels, by their trial_type; labels.csv goes before them.

Source: Brain Imaging Data Structure 1.10, physiological and other continuous recordings.
"""

import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

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
from client.data.importers.sources import files_below, number_at, read_records
from client.data.importers.writing import Clip, Corpus, Lazy, read_json, read_sites
from client.data.readers.edf import channel_name
from client.data.readers.files import check_size
from common.errors import DataError

MAX_UNPACKED_BYTES = 1 << 30
ALIASES = {"cardiac": "ppg", "respiratory": "resp", "trigger": ""}
SUFFIX = "_physio.tsv.gz"
GROUPS = {"group_age": "age", "group_sex": "sex"}


def read_bids_physio(source: Path, window_s: str = "60") -> Corpus:
    """Read sub-*/[ses-*/]*/sub-*_physio.tsv.gz, participants.tsv, events, labels.csv, sites.json.

    Args:
        source: the data set's root.
        window_s: length of a clip in seconds.

    Raises:
        DataError: when there is no recording, or one lacks what BIDS requires.
    """
    runs: dict[str, list[Path]] = {}
    for path in files_below(source, f"sub-*/**/*{SUFFIX}"):
        runs.setdefault(_run_of(path), []).append(path)
    if not runs:
        raise DataError(f"{source}: no recording like sub-01/beh/sub-01_task-x{SUFFIX}")
    groups, labels, cut_s = _groups(source), read_labels(source), window_from(window_s)
    clips: list[Clip] = []
    arrays: dict[str, Any] = {}
    for run, files in runs.items():
        person, _, session = run.partition("_")
        relative, parts = f"signals/{run}.npz", _parts(source, files)
        first = min(start for some in parts.values() for start, _, _ in some)
        recording = Recording(
            person=person,
            session=session,
            media={"physio": relative},
            length_s=length_of(on_one_clock(parts)),
            groups=groups.get(person, {}),
            intervals=_events(files[0].with_name(f"{run}_events.tsv"), first),
        )
        clips += clips_of(recording, labels, cut_s)
        arrays[relative] = lambda files=files: on_one_clock(_parts(source, files))
    return Corpus(clips, read_sites(source), arrays=Lazy(arrays))


def _run_of(path: Path) -> str:
    return re.sub(r"_recording-[^_]+", "", path.name.removesuffix(SUFFIX))


def _parts(source: Path, files: Sequence[Path]) -> dict[str, list[Part]]:
    """Signals of a run by name; one that stands twice keeps its recording's name."""
    found: dict[str, list[Part]] = {}
    for path in files:
        said = sidecar(source, path)
        start_s, rate_hz, columns = _said(path, said)
        table = _table(path, columns)
        for column in columns:
            name = channel_name(column)
            name = ALIASES.get(name, name)
            if name:
                key = name if name not in found else f"{name}_{len(found)}"
                found[key] = [(start_s, table[column].to_numpy(dtype="float64"), rate_hz)]
    if not found:
        raise DataError(f"{files[0]}: no signal besides triggers")
    return found


def sidecar(source: Path, path: Path) -> dict[str, Any]:
    """Return what the sidecars of a recording say; the nearest wins.

    Raises:
        DataError: when one cannot be read.
    """
    entities = set(path.name.removesuffix(SUFFIX).split("_"))
    folders = [path.parent, *path.parent.parents]
    chain = folders[: folders.index(source) + 1]
    said: dict[str, Any] = {}
    for folder in reversed(chain):
        for json_path in sorted(folder.glob("*physio.json"), key=lambda p: len(p.name)):
            if set(json_path.stem.split("_")[:-1]) <= entities:
                said |= read_json(json_path)
    return said


def _said(path: Path, said: Mapping[str, Any]) -> tuple[float, float, list[str]]:
    start_s, rate_hz = _number(said.get("StartTime")), _number(said.get("SamplingFrequency"))
    columns = said.get("Columns")
    named = isinstance(columns, list) and all(isinstance(c, str) for c in columns)
    if not (named and 0 < rate_hz <= 1e5 and abs(start_s) < 1e7):
        raise DataError(f"{path}: its sidecars must give StartTime, SamplingFrequency and Columns")
    return start_s, rate_hz, list(columns or ())


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read the values; what they unpack to is bounded."""
    check_size(path, MAX_UNPACKED_BYTES)
    unpacker = zlib.decompressobj(31)
    try:
        text = unpacker.decompress(path.read_bytes(), MAX_UNPACKED_BYTES)
    except zlib.error:
        raise DataError(f"{path}: not a readable .gz file") from None
    if unpacker.unconsumed_tail:
        raise DataError(f"{path}: more than {MAX_UNPACKED_BYTES / 1e6:,.0f} MB when unpacked")
    if not unpacker.eof:
        raise DataError(f"{path}: truncated")
    try:
        table = pd.read_csv(io.BytesIO(text), sep="\t", header=None, na_values=["n/a"])
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: not a readable table: {str(error)[:80]}") from None
    kinds = {dtype.kind for dtype in table.dtypes}
    if table.shape[1] != len(columns) or not kinds <= set("iuf"):
        raise DataError(f"{path}: expected {len(columns)} columns of numbers and no header")
    return table.set_axis(list(columns), axis=1)


def _events(path: Path, first_s: float) -> tuple[Interval, ...] | None:
    if not path.exists():
        return None
    return tuple(_lasting(path, first_s)) or None


def _lasting(path: Path, first_s: float) -> Iterator[Interval]:
    for line, row in enumerate(read_records(path, ("onset", "duration"), "\t"), start=2):
        if row["duration"] in ("", "n/a") or row.get("trial_type", "n/a") in ("", "n/a"):
            continue
        start_s = number_at(path, line, row["onset"]) - first_s
        length_s = number_at(path, line, row["duration"])
        if start_s >= 0 and length_s > 0:
            yield Interval(start_s, start_s + length_s, {"label": row["trial_type"]})


def _groups(source: Path) -> dict[str, dict[str, str]]:
    path = source / "participants.tsv"
    if not path.exists():
        return {}
    rows = read_records(path, ("participant_id",), "\t")
    return {
        row["participant_id"]: {
            name: row[column].replace("n/a", "") for name, column in GROUPS.items() if column in row
        }
        for row in rows
    }
