"""IEMOCAP: scripted and improvised dialogues, by utterance, with classes and dimensions.

A person is one of the two speakers of a session. An utterance is cut to its own file, so
nobody else's turn is in it. Utterances on which the raters did not agree (xxx) or chose
something else (oth) have no class and are left out.

Source: Busso et al., IEMOCAP: interactive emotional dyadic motion capture database,
Language Resources and Evaluation 42, 2008.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from client.data.importers.sources import files_below, inside_or_refuse, read_lines
from client.data.importers.writing import Clip, Corpus, read_sites
from common.errors import ConfigError, DataError

EMOTIONS = {
    "ang": "anger",
    "dis": "disgust",
    "exc": "excitement",
    "fea": "fear",
    "fru": "frustration",
    "hap": "happy",
    "neu": "neutral",
    "sad": "sad",
    "sur": "surprise",
}
WITHOUT_CLASS = ("oth", "xxx")
NUMBER = r"(-?\d+(?:\.\d+)?)"
TURN = re.compile(
    rf"\[{NUMBER} - {NUMBER}\]\t(\S+)\t(\w{{3}})\t\[{NUMBER}, {NUMBER}, {NUMBER}\]\s*"
)
UTTERANCE = re.compile(r"(Ses\d\d)[FM]_\w+_([FM])(?:X?X?)\d{3}")
SPOKEN = re.compile(r"(\S+) \[[\d.]+-[\d.]+\]:\s*(.*)")
SEX = {"F": "female", "M": "male"}


def read_iemocap(source: Path, classes: str = "") -> Corpus:
    """Read each session's evaluations, transcriptions and cut utterances.

    Args:
        source: the folder that holds Session1 to Session5.
        classes: which are kept, separated by commas; empty keeps all nine.

    Raises:
        ConfigError: when a class is not known.
        DataError: when an evaluation is not as published, or an utterance has no sound.
    """
    kept = _classes(classes)
    clips: list[Clip] = []
    media: dict[str, Path] = {}
    for path in files_below(source, "Session*/dialog/EmoEvaluation/*.txt"):
        session = path.parents[2]
        spoken = _spoken(session / "dialog" / "transcriptions" / path.name)
        for name, cells in _turns(path):
            if cells["label"] in kept:
                wav = session / "sentences" / "wav" / path.stem / f"{name}.wav"
                media[f"audio/{name}.wav"] = inside_or_refuse(source, wav)
                clips.append(Clip(cells["person_id"], {**cells, "text": spoken.get(name, "")}))
    if not clips:
        raise DataError(f"{source}: no utterance in Session*/dialog/EmoEvaluation/*.txt")
    return Corpus(clips, read_sites(source), media)


def _classes(given: str) -> set[str]:
    kept = {name.strip() for name in given.split(",") if name.strip()}
    unknown = sorted(kept - set(EMOTIONS.values()))
    if unknown:
        known = ", ".join(EMOTIONS.values())
        raise ConfigError(f"--option classes: unknown class {unknown[0]!r}; known: {known}")
    return kept or set(EMOTIONS.values())


def _turns(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    for line, text in enumerate(read_lines(path), start=1):
        if not text.startswith("[") or not text[1:2].isdigit():
            continue
        match = TURN.fullmatch(text)
        named = UTTERANCE.fullmatch(match.group(3)) if match else None
        if match is None or named is None:
            raise DataError(f"{path}:{line}: expected [start - end], name, class, [v, a, d]")
        name, emotion, dimensions = match.group(3), match.group(4), match.groups()[4:]
        if emotion not in EMOTIONS and emotion not in WITHOUT_CLASS:
            raise DataError(f"{path}:{line}: unknown class {emotion!r}")
        if emotion in EMOTIONS:
            cells = {
                "sample_id": name,
                "person_id": f"{named.group(1)}{named.group(2)}",
                "session_id": path.stem,
                "audio": f"audio/{name}.wav",
                "label": EMOTIONS[emotion],
                **dict(zip(("valence", "arousal", "dominance"), dimensions, strict=True)),
                "group_sex": SEX[named.group(2)],
            }
            yield name, cells


def _spoken(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    found = (SPOKEN.fullmatch(line.strip()) for line in read_lines(path))
    return {match.group(1): match.group(2).strip() for match in found if match}
