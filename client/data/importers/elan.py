"""ELAN: annotations of recordings, tier by tier.

An annotation becomes a clip with its words as label. The person is the tier's participant; where
it names none, the first folder below the source; without one, the file's name. Of the
media that a file names, only those beside it count: the path of another computer says nothing here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element

from client.data.importers.sources import files_below, inside_or_refuse
from client.data.importers.writing import Clip, Corpus, read_sites
from client.data.readers.media import VIDEO_SUFFIXES, open_media
from client.data.readers.xml import read_xml
from common.errors import DataError


@dataclass(frozen=True)
class Annotation:
    """One annotation: when, what, and on which tier."""

    start_s: float
    end_s: float
    text: str


def read_elan(source: Path, tier: str = "", text: str = "") -> Corpus:
    """Read every .eaf file below a folder, the media beside it, and sites.json.

    Args:
        source: the folder.
        tier: which tiers are labels, by name or linguistic type, separated by commas; empty takes
            all.
        text: which tiers are what was said; words that begin inside a clip are its text.

    Raises:
        DataError: when there is no annotation, a file is not as ELAN writes it, or has no media.
    """
    files = files_below(source, "**/*.eaf")
    if not files:
        raise DataError(f"{source}: no file ending in .eaf")
    clips: list[Clip] = []
    media: dict[str, Path] = {}
    for path in files:
        root = read_xml(path)
        if root.tag != "ANNOTATION_DOCUMENT":
            raise DataError(f"{path}: not an ELAN file")
        sources = _media(source, path, root)
        cells = {name: f"media/{_slug(source, file)}" for name, file in sources.items()}
        media |= {cells[name]: file for name, file in sources.items()}
        clips += _clips(source, path, root, cells, (_names(tier), _names(text)))
    if not clips:
        raise DataError(f"{source}: no annotation on the tiers that were asked for")
    return Corpus(clips, read_sites(source), media)


def _clips(
    source: Path,
    path: Path,
    root: Element,
    cells: Mapping[str, str],
    asked: tuple[set[str], set[str]],
) -> Iterator[Clip]:
    labels, words = asked
    known = _annotations(path, root)
    said = [a for name, found in known.items() if _is_asked(root, name, words) for a in found]
    inner = path.relative_to(source)
    for number, tier in enumerate(root.iter("TIER"), start=1):
        name = tier.get("TIER_ID", "")
        if _is_asked(root, name, words) or not (_is_asked(root, name, labels) or not labels):
            continue
        person = tier.get("PARTICIPANT", "").strip() or _person(inner)
        for index, one in enumerate(known[name], start=1):
            text = " ".join(a.text for a in said if one.start_s <= a.start_s < one.end_s)
            row = {
                "sample_id": f"{inner.with_suffix('').as_posix()}_{number}_{index:05d}",
                "person_id": person,
                "session_id": path.stem,
                **cells,
                **({"text": text} if words else {}),
                "start_s": f"{one.start_s:g}",
                "end_s": f"{one.end_s:g}",
                "label": one.text,
            }
            yield Clip(person, row)


def _annotations(path: Path, root: Element) -> dict[str, list[Annotation]]:
    """Tier -> annotations; one that refers to another takes its time."""
    times = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    spans: dict[str | None, tuple[float, float]] = {}
    for one in root.iter("ALIGNABLE_ANNOTATION"):
        ends = [times.get(one.get(f"TIME_SLOT_REF{k}")) for k in (1, 2)]
        if all(end is not None and end.isdigit() for end in ends):
            start_s, end_s = (int(str(end)) / 1000 for end in ends)
            spans[one.get("ANNOTATION_ID")] = (start_s, end_s)
            if not start_s < end_s:
                raise DataError(f"{path}: annotation {one.get('ANNOTATION_ID')}: ends at its start")
    parents = {
        one.get("ANNOTATION_ID"): one.get("ANNOTATION_REF") for one in root.iter("REF_ANNOTATION")
    }
    found: dict[str, list[Annotation]] = {}
    for tier in root.iter("TIER"):
        inside = found.setdefault(tier.get("TIER_ID", ""), [])
        for one in (*tier.iter("ALIGNABLE_ANNOTATION"), *tier.iter("REF_ANNOTATION")):
            words = (one.findtext("ANNOTATION_VALUE") or "").strip()
            span = _span(one.get("ANNOTATION_ID"), spans, parents)
            if words and span:
                inside.append(Annotation(*span, words))
        inside.sort(key=lambda a: a.start_s)
    return found


def _span(
    key: str | None,
    spans: Mapping[str | None, tuple[float, float]],
    parents: Mapping[str | None, str | None],
) -> tuple[float, float] | None:
    for _ in range(16):
        if key in spans:
            return spans[key]
        key = parents.get(key)
    return None


def _media(source: Path, path: Path, root: Element) -> dict[str, Path]:
    """Modality -> the file beside the annotations; a film with sound is both."""
    found: dict[str, Path] = {}
    named = []
    for one in root.iter("MEDIA_DESCRIPTOR"):
        url = one.get("RELATIVE_MEDIA_URL") or one.get("MEDIA_URL") or ""
        named.append(Path(unquote(urlsplit(url).path)).name)
    for name in named:
        file = path.parent / name
        if name and file.is_file():
            inside_or_refuse(source, file)
            found.setdefault("video" if file.suffix.lower() in VIDEO_SUFFIXES else "audio", file)
    if not found:
        raise DataError(
            f"{path}: none of its media lies beside it: {', '.join(named) or 'none named'}"
        )
    if "video" in found and "audio" not in found and _has_sound(found["video"]):
        found["audio"] = found["video"]
    return found


def _has_sound(path: Path) -> bool:
    with open_media(path) as container:
        return bool(container.streams.audio)


def _is_asked(root: Element, name: str, asked: set[str]) -> bool:
    kinds = {t.get("TIER_ID"): t.get("LINGUISTIC_TYPE_REF") for t in root.iter("TIER")}
    return bool(asked & {name, kinds.get(name)})


def _names(given: str) -> set[str]:
    return {name.strip() for name in given.split(",") if name.strip()}


def _person(inner: Path) -> str:
    return inner.parts[0] if len(inner.parts) > 1 else inner.stem


def _slug(source: Path, file: Path) -> str:
    return "_".join(file.relative_to(source).parts)
