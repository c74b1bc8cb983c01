"""From a study and a manifest to a site's arrays."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from rich.progress import Progress

from client.data.arrays import FloatArray, SiteData
from client.data.extract import Clips, Extractor, Found, extract, extractor_for
from client.data.manifest import Manifest, Row, Source, read_manifest, refuse
from client.data.normalise import by_person
from client.data.rated import target_columns
from common.config import FrozenEncoder, Study
from common.console import open_console
from common.errors import ConfigError, DataError
from common.inputs import input_shapes
from common.targets import targets_of

NORMALISE = ("none", "person", "federated")
SLOW_SOURCES = 50
Groups = list[tuple[Source, list[int]]]


def load_site_data(
    study: Study,
    manifest: Path,
    cache_dir: Path | None = None,
    *,
    labels: bool = True,
    today: date | None = None,
    scopes: Sequence[str] | None = None,
    encoders: Mapping[str, FrozenEncoder] = MappingProxyType({}),
    device: torch.device | None = None,
    reads: Collection[str] | None = None,
) -> SiteData:
    """Read a site's manifest and recordings for a study.

    Args:
        study: names the classes, modalities, purpose and normalisation.
        manifest: the site's table; its folder bounds what is read.
        cache_dir: where features are kept between runs; None keeps none.
        labels: whether every row needs a label; False for prediction.
        today: the day on which consent must hold; None takes the clock's.
        scopes: words of consent_scope that cover the study's purpose; None: its own name.
        encoders: name -> where this site has the frozen encoder of that name.
        device: where encoders run; None takes a GPU where there is one.
        reads: modalities whose recordings are read; None reads all. Others are zeros.

    Guarantees: equal files give equal arrays (those of frozen encoders up to the rounding of
    single precision); group columns have no effect; a recording is seen only inside its row's
    window; an encoder is needed only where some clip has its modality.

    Raises:
        ConfigError: when a modality or the normalisation of the study is not known, or the
            encoder that it names is not the one that this site has.
        DataError: with every problem of the manifest, or of its recordings, at once.
    """
    _check_normalise(study.normalise)
    shapes = input_shapes(study)
    table = read_manifest(
        manifest,
        study.classes,
        study.purpose,
        today or date.today(),
        modalities=shapes,
        labels=labels,
        scopes=scopes,
        scales=targets_of(study).scales,
        votes=labels and study.training.class_target == "raters",
    )
    problems: list[str] = []
    x = {}
    for name, shape in shapes.items():
        x[name] = np.zeros((len(table.rows), *shape), dtype=np.float32)
        groups = by_source(table.rows, name) if reads is None or name in reads else []
        if groups:
            extractor = extractor_for(name, study.modalities[name], encoders, device)
            _fill(x[name], table, name, groups, extractor, cache_dir, problems)
    refuse(problems)
    data = _assemble(study, table, x)
    return by_person(study, data) if study.normalise == "person" else data


def _check_normalise(name: str) -> None:
    if name not in NORMALISE:
        raise ConfigError(f"normalise: expected one of {', '.join(NORMALISE)}, found {name!r}")


def _assemble(study: Study, table: Manifest, x: dict[str, FloatArray]) -> SiteData:
    rows = table.rows
    person_ids = tuple(sorted({row.person_id for row in rows}))
    index = {person: i for i, person in enumerate(person_ids)}
    return SiteData(
        x=x,
        present_NM=np.array([[name in row.sources for name in x] for row in rows], dtype=np.bool_),
        y_NC=target_columns(rows, study),
        person_N=np.array([index[row.person_id] for row in rows], dtype=np.int64),
        person_ids=person_ids,
        sample_ids=tuple(row.sample_id for row in rows),
        split_N=np.array([row.split for row in rows], dtype=np.str_),
    )


def _fill(
    x: FloatArray,
    table: Manifest,
    name: str,
    groups: Groups,
    extractor: Extractor,
    cache_dir: Path | None,
    problems: list[str],
) -> None:
    """Write a modality's features into their rows of x."""
    wrong: list[tuple[int, str]] = []
    for found in _progress(name, groups, extract(extractor, clips_of(table, groups), cache_dir)):
        _, index = groups[found.number]
        if isinstance(found.features, DataError):
            line = table.rows[index[0]].line
            wrong.append((line, f"{table.where(line)}: {name}: {found.features}"))
        else:
            x[index] = found.features
    problems += [text for _, text in sorted(wrong)]


def by_source(rows: Sequence[Row], name: str) -> Groups:
    """Return each source of a modality with the rows that name it."""
    groups: dict[Source, list[int]] = {}
    for i, row in enumerate(rows):
        if name in row.sources:
            groups.setdefault(row.sources[name], []).append(i)
    return list(groups.items())


def clips_of(table: Manifest, groups: Groups) -> Clips:
    """Return each source with the windows that rows name."""
    return [
        (source, [(table.rows[i].start_s, table.rows[i].end_s) for i in index])
        for source, index in groups
    ]


def _progress(name: str, groups: Groups, found: Iterator[Found]) -> Iterator[Found]:
    files = sum(isinstance(source, Path) for source, _ in groups)
    console = open_console(stderr=True)
    with Progress(
        console=console,
        transient=True,
        disable=files < SLOW_SOURCES or not console.is_terminal,
    ) as progress:
        yield from progress.track(found, total=len(groups), description=f"reading {name}")
