"""Recordings in EDF, EDF+ or BDF, with their annotations.

The person is the header's patient code; where it has none (X), the first folder below the source;
where there is no folder, the file's name. An annotation that lasts becomes labelled clips;
labels.csv goes before annotations.
"""

from pathlib import Path

from client.data.importers.recordings import (
    SHORTEST_S,
    Interval,
    Recording,
    clips_of,
    read_labels,
    window_from,
)
from client.data.importers.sources import files_below
from client.data.importers.writing import Clip, Corpus, read_sites
from client.data.readers.edf import EDF_SUFFIXES, EdfHeader, read_edf_header
from common.errors import DataError

NOBODY = ("", "X")


def read_edf_folder(source: Path, window_s: str = "60") -> Corpus:
    """Read every EDF or BDF file below a folder, labels.csv and sites.json.

    Args:
        source: the folder.
        window_s: length of a clip in seconds.

    Raises:
        DataError: when there is no recording, or one is damaged.
    """
    files = [p for p in files_below(source, "**/*") if p.suffix.lower() in EDF_SUFFIXES]
    if not files:
        raise DataError(f"{source}: no file ending in .edf or .bdf")
    labels, cut_s = read_labels(source), window_from(window_s)
    clips: list[Clip] = []
    media: dict[str, Path] = {}
    for path in files:
        inner = path.relative_to(source)
        relative = f"signals/{'_'.join(inner.parts)}"
        header = read_edf_header(path)
        person = _person(inner, header)
        recording = Recording(
            person=person,
            session="" if path.stem == person else path.stem,
            media={"physio": relative},
            length_s=header.length_s,
            intervals=_intervals(header),
        )
        clips += clips_of(recording, labels, cut_s)
        media[relative] = path
    return Corpus(clips, read_sites(source), media)


def _person(inner: Path, header: EdfHeader) -> str:
    if header.patient not in NOBODY:
        return header.patient
    return inner.parts[0] if len(inner.parts) > 1 else inner.stem


def _intervals(header: EdfHeader) -> tuple[Interval, ...] | None:
    lasting = [a for a in header.annotations if a.length_s >= SHORTEST_S and a.text]
    found = (Interval(a.start_s, a.start_s + a.length_s, {"label": a.text}) for a in lasting)
    return tuple(found) or None
