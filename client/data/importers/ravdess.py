"""RAVDESS, speech: everything is in the file names.

Source: Livingstone and Russo, The Ryerson Audio-Visual Database of Emotional Speech and
Song, PLoS ONE 13, 2018. A name is modality-channel-emotion-intensity-statement-repetition-actor.
"""

import re
from pathlib import Path

from client.data.importers.writing import Clip, Corpus, read_sites
from common.errors import DataError

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
NAME = re.compile(r"03-01-(0[1-8])-0[12]-0[12]-0[12]-(\d\d)\.(wav|flac)", re.IGNORECASE)


def read_ravdess(source: Path) -> Corpus:
    """Read every audio-only speech clip below a folder, and sites.json.

    Raises:
        DataError: when there is no such clip.
    """
    found: dict[str, Path] = {}
    for path in sorted(source.rglob("03-01-*")):
        if NAME.fullmatch(path.name):
            found.setdefault(path.stem, path)
    if not found:
        raise DataError(f"{source}: no file named like 03-01-05-01-02-01-12.wav")
    clips = [_clip(path) for path in found.values()]
    return Corpus(clips, read_sites(source), {f"audio/{p.name}": p for p in found.values()})


def _clip(path: Path) -> Clip:
    match = NAME.fullmatch(path.name)
    if match is None:
        raise DataError(f"{path}: not named as RAVDESS names its files")
    emotion, actor = match.group(1), match.group(2)
    person = f"A{actor}"
    cells = {
        "sample_id": path.stem,
        "person_id": person,
        "audio": f"audio/{path.name}",
        "label": EMOTIONS[int(emotion) - 1],
        "group_sex": "male" if int(actor) % 2 else "female",
    }
    return Clip(person, cells)
