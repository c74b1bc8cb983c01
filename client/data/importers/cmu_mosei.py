"""CMU-MOSEI in its raw folders: a table of labels, and segments as sound, film or transcript.

Who speaks is published only as the video; a speaker with several videos counts as several
persons, so a guarantee by person holds by video. The published pickles are not read.

Source: Zadeh et al., Multimodal language analysis in the wild: CMU-MOSEI, ACL 2018.
"""

from collections.abc import Mapping
from pathlib import Path

from client.data.importers.sources import files_below, number_at, read_lines, read_records
from client.data.importers.writing import Clip, Corpus, read_sites
from common.errors import ConfigError, DataError

TABLES = ("label.csv", "labels.csv", "Labels/*.csv", "Raw/Labels/*.csv")
MEDIA = {
    "audio": ("**/Audio/Segmented/**/*.wav", "**/Audio/Full/**/*.wav"),
    "video": ("**/Videos/Segmented/**/*.mp4", "Raw/*/*.mp4"),
}
TRANSCRIPTS = "**/Transcript/Segmented/**/*.txt"
EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}
LABELS = ("sentiment", "polarity", "emotion")
Segment = tuple[str, str]


def read_cmu_mosei(source: Path, label: str = "polarity") -> Corpus:
    """Read the table of labels and the segments that it names.

    Args:
        source: the folder with label.csv (or Labels/*.csv) and the raw folders.
        label: which class a segment has: polarity (negative, neutral, positive), sentiment (seven
            classes, -3 to 3), or emotion (the strongest of six; segments without any are left
            out). Sentiment as a number and every emotion that somebody saw stand beside it.

    Raises:
        ConfigError: when there is no such label.
        DataError: when a table or a transcript is not as published, or nothing fits together.
    """
    if label not in LABELS:
        raise ConfigError(f"--option label: expected one of {', '.join(LABELS)}, found {label!r}")
    tables = [path for pattern in TABLES for path in files_below(source, pattern)]
    if not tables:
        raise DataError(f"{source}: expected label.csv or Labels/*.csv")
    media, lines = _media(source), _transcripts(source)
    files: dict[str, Path] = {}
    clips: dict[Segment, Clip] = {}
    for path in tables:
        for line, row in enumerate(read_records(path, ("video_id", "clip_id")), start=2):
            cells = _cells(path, line, row, label)
            segment = (row["video_id"], row["clip_id"])
            if cells["label"] and segment not in clips:
                cells |= _sources(segment, media, lines, files)
                cells["text"] = cells.get("text") or row.get("text", "")
                clips[segment] = Clip(row["video_id"], cells)
    if not clips:
        raise DataError(f"{source}: no segment has a label")
    return Corpus(list(clips.values()), read_sites(source), files)


def _cells(path: Path, line: int, row: Mapping[str, str], label: str) -> dict[str, str]:
    video, clip = row["video_id"], row["clip_id"]
    return {
        "sample_id": f"{video}_{clip}",
        "person_id": video,
        "label": _label(path, line, row, label),
        **_rated(path, line, row),
        "split": SPLITS.get(row.get("mode", row.get("split", "")), ""),
    }


def _rated(path: Path, line: int, row: Mapping[str, str]) -> dict[str, str]:
    """The sentiment as a dimension, and each emotion as a label: whether anybody saw it."""
    found = {}
    if row.get("sentiment") or row.get("label"):
        found["sentiment"] = f"{_score(path, line, row):g}"
    for name in EMOTIONS:
        if row.get(name):
            found[name] = str(int(number_at(path, line, row[name]) > 0))
    return found


def _score(path: Path, line: int, row: Mapping[str, str]) -> float:
    score = number_at(path, line, row.get("sentiment") or row.get("label", ""))
    if not -3 <= score <= 3:
        raise DataError(f"{path}:{line}: expected a sentiment from -3 to 3, found {score:g}")
    return score


def _label(path: Path, line: int, row: Mapping[str, str], label: str) -> str:
    if label == "emotion":
        strength = [number_at(path, line, row.get(name, "") or "0") for name in EMOTIONS]
        return EMOTIONS[strength.index(max(strength))] if max(strength) > 0 else ""
    score = _score(path, line, row)
    if label == "sentiment":
        return f"{round(score):+d}" if round(score) else "0"
    return "neutral" if score == 0 else ("positive" if score > 0 else "negative")


def _media(source: Path) -> dict[str, dict[str, Path]]:
    """Modality -> name of a segment, or of a whole video -> file."""
    found: dict[str, dict[str, Path]] = {name: {} for name in MEDIA}
    for modality, patterns in MEDIA.items():
        for pattern in patterns:
            for path in files_below(source, pattern):
                inner = (
                    f"{path.parent.name}_{path.stem}" if pattern.startswith("Raw/") else path.stem
                )
                found[modality].setdefault(inner, path)
    return found


def _transcripts(source: Path) -> dict[Segment, tuple[str, str, str]]:
    """Segment -> start, end and text, from lines of video___clip___start___end___text."""
    found: dict[Segment, tuple[str, str, str]] = {}
    for path in files_below(source, TRANSCRIPTS):
        for line, text in enumerate(read_lines(path), start=1):
            parts = text.split("___", 4)
            if len(parts) != 5:
                raise DataError(f"{path}:{line}: expected video___clip___start___end___text")
            for part in parts[2:4]:
                number_at(path, line, part)
            found[parts[0], parts[1]] = (parts[2], parts[3], parts[4].strip())
    return found


def _sources(
    segment: Segment,
    media: Mapping[str, Mapping[str, Path]],
    lines: Mapping[Segment, tuple[str, str, str]],
    files: dict[str, Path],
) -> dict[str, str]:
    """A segment's own files; else the whole video's sound, with the segment's window in it."""
    name, (start_s, end_s, text) = "_".join(segment), lines.get(segment, ("", "", ""))
    cells = {"audio": "", "video": "", "start_s": "", "end_s": "", "text": text}
    for modality in MEDIA:
        path = media[modality].get(name)
        whole = media[modality].get(segment[0]) if modality == "audio" and start_s else None
        if path is None and whole is not None and not cells["video"]:
            path, cells["start_s"], cells["end_s"] = whole, start_s, end_s
        elif path is not None and cells["start_s"]:
            path = None
        if path is not None:
            cells[modality] = (
                f"{modality}/{path.name}" if whole else f"{modality}/{name}{path.suffix}"
            )
            files[cells[modality]] = path
    return cells
