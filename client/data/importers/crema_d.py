"""CREMA-D: voice and face of actors, and what the crowd saw and heard in them.

A clip is named actor-sentence-emotion-level, as in 1001_DFA_ANG_XX. Where the tabulated votes are
there, those on voice and face together are the label's distribution; the emotion that the
actor was asked for stays beside them as label.

Source: Cao et al., CREMA-D: Crowd-sourced emotional multimodal actors dataset, IEEE
Transactions on Affective Computing 5, 2014.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from client.data.importers.sources import files_below, number_at, read_records
from client.data.importers.writing import Clip, Corpus, read_sites
from common.errors import DataError

EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
NAME = re.compile(rf"(\d{{4}})_[A-Z]{{3}}_({'|'.join(EMOTIONS)})_(LO|MD|HI|XX?)")
MEDIA = {"audio": ("AudioWAV/*.wav",), "video": ("VideoFlash/*.flv", "VideoMP4/*.mp4")}
GROUPS = {"group_age": "Age", "group_sex": "Sex", "group_race": "Race"}
VOICE_AND_FACE = 3
Groups = Mapping[str, dict[str, str]]


def read_crema_d(source: Path) -> Corpus:
    """Read AudioWAV, VideoFlash, VideoDemographics.csv, the tabulated votes and sites.json.

    Raises:
        DataError: when there is no clip, or a table is not as published.
    """
    media: dict[str, Path] = {}
    found: dict[str, dict[str, str]] = {}
    for modality, patterns in MEDIA.items():
        for path in (p for pattern in patterns for p in files_below(source, pattern)):
            if NAME.fullmatch(path.stem) and modality not in found.get(path.stem, {}):
                relative = f"{modality}/{path.name}"
                found.setdefault(path.stem, {})[modality] = relative
                media[relative] = path
    if not found:
        raise DataError(f"{source}: no file named like AudioWAV/1001_DFA_ANG_XX.wav")
    groups, votes = _groups(source), _votes(source)
    clips = [_clip(stem, found[stem], groups, votes) for stem in sorted(found)]
    return Corpus(clips, read_sites(source), media)


def _clip(stem: str, sources: Mapping[str, str], groups: Groups, votes: Mapping[str, str]) -> Clip:
    match = NAME.fullmatch(stem)
    if match is None:
        raise DataError(f"{stem}: not named as CREMA-D names its files")
    actor, emotion = match.group(1), match.group(2)
    cells = {
        "sample_id": stem,
        "person_id": actor,
        **{modality: sources.get(modality, "") for modality in MEDIA},
        "label": EMOTIONS[emotion],
        **({"label_dist": votes.get(stem, "")} if votes else {}),
        **groups.get(actor, {}),
    }
    return Clip(actor, cells)


def _groups(source: Path) -> Groups:
    path = source / "VideoDemographics.csv"
    if not path.exists():
        return {}
    rows = read_records(path, ("ActorID", *GROUPS.values()))
    return {row["ActorID"]: {name: row[c] for name, c in GROUPS.items()} for row in rows}


def _votes(source: Path) -> dict[str, str]:
    """Clip -> shares of the votes on voice and face together; rows are 100000 x query + clip."""
    path = source / "processedResults" / "tabulatedVotes.csv"
    if not path.exists():
        return {}
    letters = {name[0].upper(): name for name in EMOTIONS.values()}
    shares: dict[str, str] = {}
    for line, row in enumerate(read_records(path, (*letters, "fileName")), start=2):
        query = number_at(path, line, next(iter(row.values()))) // 100_000
        count = {name: number_at(path, line, row[letter]) for letter, name in letters.items()}
        total = sum(count.values())
        if query == VOICE_AND_FACE and total > 0:
            dist = {name: round(n / total, 6) for name, n in count.items() if n}
            shares[row["fileName"]] = json.dumps(dist)
    return shares
