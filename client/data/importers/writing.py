"""What an importer reads, and how it becomes one folder per site."""

import csv
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import DataError

ONLY_SITE = "site_0"
MAX_JSON_BYTES = 1 << 24


class Lazy(Mapping[str, Mapping[str, npt.NDArray[Any]]]):
    """Arrays that are made when they are written, so that only one recording is in memory."""

    def __init__(self, makers: Mapping[str, Callable[[], Mapping[str, npt.NDArray[Any]]]]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> Mapping[str, npt.NDArray[Any]]:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclass(frozen=True)
class Clip:
    """One row to write.

    Args:
        place: what decides the site: the person, unless the corpus says otherwise.
        cells: the manifest's cells; a path among `media` is relative to the site's folder.
    """

    place: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Corpus:
    """A corpus as read, before it is spread over sites.

    Args:
        clips: every row, in the order of the source.
        sites: site -> places; empty puts everything at one site.
        media: relative path -> the source's file, for rows that name one.
        arrays: relative path -> named arrays to be written as .npz.
    """

    clips: Sequence[Clip]
    sites: Mapping[str, Sequence[str]]
    media: Mapping[str, Path] = field(default_factory=dict)
    arrays: Mapping[str, Mapping[str, npt.NDArray[Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportReport:
    """What was written: rows per site, manifests, and rows of places that no site has."""

    rows: dict[str, int]
    manifests: tuple[Path, ...]
    unplaced: int
    persons: int


def dealt(corpus: Corpus, sites: int) -> Corpus:
    """The corpus with its places dealt to so many sites in turn, by name.

    Raises:
        DataError: there are fewer places than sites.
    """
    places = sorted({clip.place for clip in corpus.clips})
    if len(places) < sites:
        raise DataError(f"{len(places)} persons cannot be dealt to {sites} sites")
    return replace(corpus, sites={f"site_{k}": places[k::sites] for k in range(sites)})


def write_sites(corpus: Corpus, out: Path, site: str | None = None) -> ImportReport:
    """Write every site's folder under out/sites.

    Args:
        corpus: what an importer read.
        out: the folder to write.
        site: the name of the only site; None follows corpus.sites.

    Raises:
        DataError: when there is nothing to write, or two sites would share a folder.
    """
    one = site or (None if corpus.sites else ONLY_SITE)
    home = {place: name for name, places in corpus.sites.items() for place in places}
    rows: dict[str, list[Clip]] = {} if one else {name: [] for name in corpus.sites}
    unplaced = 0
    for clip in corpus.clips:
        name = one or home.get(clip.place)
        if name is None:
            unplaced += 1
        else:
            rows.setdefault(name, []).append(clip)
    rows = {name: clips for name, clips in rows.items() if clips}
    if not rows:
        raise DataError("no clip belongs to any site; compare the source with its sites.json")
    folders = _folders(out, rows)
    manifests = tuple(_write_site(corpus, folders[name], clips) for name, clips in rows.items())
    return ImportReport(
        rows={folders[name].name: len(clips) for name, clips in rows.items()},
        manifests=manifests,
        unplaced=unplaced,
        persons=len({clip.cells["person_id"] for clips in rows.values() for clip in clips}),
    )


def read_sites(source: Path) -> dict[str, list[str]]:
    """Return site -> persons from a sites.json, or nothing where there is none.

    Raises:
        DataError: when the file does not say so.
    """
    sites = read_json(source / "sites.json").get("sites", {})
    if not isinstance(sites, dict) or not all(isinstance(p, list) for p in sites.values()):
        raise DataError(f'{source / "sites.json"}: expected {{"sites": {{"name": [persons]}}}}')
    return {str(name): [str(person) for person in persons] for name, persons in sites.items()}


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object, or an empty one where there is no file.

    Raises:
        DataError: when the file holds anything else.
    """
    if not path.exists():
        return {}
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{path}: too large")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise DataError(f"{path}: not readable as JSON") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected a JSON object")
    return found


def numbers(values: Sequence[float]) -> str:
    """Return numbers as a manifest's cell: a JSON list, null where unknown."""
    known = [float(f"{v:.6g}") if np.isfinite(v) else None for v in map(float, values)]
    return json.dumps(known)


def _folders(out: Path, rows: Mapping[str, object]) -> dict[str, Path]:
    folders = {name: out / "sites" / re.sub(r"[^\w-]+", "_", name) for name in rows}
    if len(set(folders.values())) != len(folders):
        raise DataError("two sites have names that make the same folder; rename one")
    return folders


def _write_site(corpus: Corpus, folder: Path, clips: Sequence[Clip]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    used = {cell for clip in clips for cell in clip.cells.values()}
    for relative, source in corpus.media.items():
        if relative in used:
            _link(source, folder / relative)
    for relative in corpus.arrays:
        if relative in used:
            (folder / relative).parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(folder / relative, allow_pickle=False, **corpus.arrays[relative])
    manifest = folder / "manifest.csv"
    columns = list(dict.fromkeys(name for clip in clips for name in clip.cells))
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(dict(clip.cells) for clip in clips)
    return manifest


def _link(source: Path, target: Path) -> None:
    """Make a hard link, so that the file lies inside the folder and is not copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
