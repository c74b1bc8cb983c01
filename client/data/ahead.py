"""Features ahead of time: every recording of a manifest once, into the cache."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch

from client.data.encoders.naming import encoders_given
from client.data.extract import Extractor, Heavy, extract, extractor_for
from client.data.load import by_source, clips_of
from client.data.manifest import Manifest, read_manifest, refuse
from client.folder import open_site
from common.config import FrozenEncoder, Study
from common.errors import DataError
from common.inputs import FRONT_ENDS, input_shapes

Watch = Callable[[str, int, int], None]
CACHE = ".features"


@dataclass(frozen=True)
class Place:
    """Where a site keeps what features are made of, and the features.

    Args:
        cache: folder of features.
        encoders: name -> where the frozen encoder lies.
        scopes: words of consent_scope that cover the study's purpose; None: its own name.
    """

    cache: Path
    encoders: Mapping[str, FrozenEncoder]
    scopes: Sequence[str] | None = None


@dataclass(frozen=True)
class Extracted:
    """What a pass over one modality came to.

    Args:
        front_end: that read it.
        shape: of a clip.
        sources: files, or texts.
        clips: rows that name one.
        from_cache: sources that were known already.
        computed: sources that were read.
        failed: sources that could not be.
        seconds: it took.
        encoder: which files made the features; None for a front end without weights.
    """

    front_end: str
    shape: tuple[int, ...]
    sources: int
    clips: int
    from_cache: int
    computed: int
    failed: int
    seconds: float
    encoder: Mapping[str, Any] | None


@dataclass(frozen=True)
class Pass:
    """What a pass over a manifest came to.

    Args:
        manifest: that was read.
        cache: where the features are.
        modalities: name -> what came of it.
        problems: each with file and line.
    """

    manifest: Path
    cache: Path
    modalities: Mapping[str, Extracted]
    problems: Sequence[str] = field(default=())

    def form(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {**asdict(self), "manifest": str(self.manifest), "cache": str(self.cache)}

    def refuse(self) -> None:
        """Raise DataError with every problem; none raises nothing."""
        refuse(self.problems)


def place_for(
    study: Study,
    manifest: Path,
    site: Path | None = None,
    cache: Path | None = None,
    pairs: Sequence[str] = (),
) -> Place:
    """Return where features of a manifest go and come from.

    Args:
        study: names the encoders.
        manifest: beside it lies the cache, where nothing else is said.
        site: a site's folder; its policy says everything.
        cache: folder of features.
        pairs: NAME=FOLDER of encoders, where there is no site.

    Raises:
        ConfigError: the site's folder is none, or a pair is wrong.
    """
    if site is not None:
        folder = open_site(site)
        scopes = folder.policy.consent_scopes.get(study.purpose)
        return Place(cache or folder.cache, folder.encoders, scopes)
    return Place(cache or manifest.parent / CACHE, encoders_given(study, pairs))


def extract_ahead(
    study: Study,
    manifest: Path,
    place: Place,
    device: torch.device | None = None,
    watch: Watch = lambda _name, _done, _total: None,
) -> Pass:
    """Read every recording that a study needs and keep its features; rows need no label.

    Args:
        study: names modalities and front ends.
        manifest: the site's table.
        place: where features go and encoders come from.
        device: where encoders run; None takes a GPU where there is one.
        watch: gets modality, sources done, and all of them, after each.

    Guarantees: features are those that training reads; a modality that no clip has is left out;
    what the cache holds is not redone; a recording that cannot be read is a problem and keeps no
    other from being read.

    Raises:
        ConfigError: a modality is not well described, or an encoder is not the study's.
        DataError: the table itself is wrong.
    """
    shapes = input_shapes(study)
    table = read_manifest(
        manifest,
        study.classes,
        study.purpose,
        date.today(),
        modalities=shapes,
        labels=False,
        scopes=place.scopes,
    )
    extractors = {
        name: extractor_for(name, study.modalities[name], place.encoders, device)
        for name in shapes
        if by_source(table.rows, name)
    }
    problems: list[tuple[int, str]] = []
    found = {
        name: _modality(table, name, extractor, place.cache, watch, problems)
        for name, extractor in extractors.items()
    }
    texts = [text for _, text in sorted(problems)]
    return Pass(manifest, place.cache, found, texts)


def _modality(
    table: Manifest,
    name: str,
    extractor: Extractor,
    cache: Path,
    watch: Watch,
    problems: list[tuple[int, str]],
) -> Extracted:
    begun = time.monotonic()
    groups = by_source(table.rows, name)
    known = failed = 0
    watch(name, 0, len(groups))
    for done, found in enumerate(extract(extractor, clips_of(table, groups), cache), 1):
        watch(name, done, len(groups))
        known += found.is_cached
        if isinstance(found.features, DataError):
            failed += 1
            line = table.rows[groups[found.number][1][0]].line
            problems.append((line, f"{table.where(line)}: {name}: {found.features}"))
    return Extracted(
        extractor.front_end,
        FRONT_ENDS[extractor.front_end].shape(extractor.options),
        len(groups),
        sum(len(index) for _, index in groups),
        known,
        len(groups) - known - failed,
        failed,
        round(time.monotonic() - begun, 3),
        extractor.frozen.record if isinstance(extractor, Heavy) else None,
    )
