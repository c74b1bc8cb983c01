"""From a study and a manifest to a site's arrays."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from client.data.arrays import FloatArray, SiteData
from client.data.cache import cache_key, load_cached, store_cached, window_name
from client.data.features import front_end
from client.data.features.base import FrontEnd, Window
from client.data.manifest import Manifest, Row, Source, read_manifest, refuse
from client.data.normalise import by_person
from client.data.readers.files import content_hash
from common.config import Study
from common.errors import ConfigError, DataError
from common.inputs import FRONT_ENDS, Options, Shape, front_end_of, input_shapes, options_of

NORMALISE = ("none", "person", "federated")
SLOW_SOURCES = 50


def load_site_data(
    study: Study,
    manifest: Path,
    cache_dir: Path | None = None,
    *,
    labels: bool = True,
    today: date | None = None,
    scopes: Sequence[str] | None = None,
) -> SiteData:
    """Read a site's manifest and recordings for a study.

    Args:
        study: names the classes, modalities, purpose and normalisation.
        manifest: the site's table; its folder bounds what is read.
        cache_dir: where features are kept between runs; None keeps none.
        labels: whether every row needs a label; False for prediction.
        today: the day on which consent must hold; None takes the clock's.
        scopes: words of consent_scope that cover the study's purpose; None: its own name.

    Guarantees: equal files give equal arrays; group columns have no effect; a recording
    is seen only inside its row's window.

    Raises:
        ConfigError: when a modality or the normalisation of the study is not known.
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
    )
    problems: list[str] = []
    x = {name: _modality(study, table, name, cache_dir, problems) for name in shapes}
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
    unlabelled = (0.0,) * len(study.classes)
    return SiteData(
        x=x,
        present_NM=np.array([[name in row.sources for name in x] for row in rows], dtype=np.bool_),
        y_NC=np.array([row.label_C or unlabelled for row in rows], dtype=np.float32),
        person_N=np.array([index[row.person_id] for row in rows], dtype=np.int64),
        person_ids=person_ids,
        sample_ids=tuple(row.sample_id for row in rows),
        split_N=np.array([row.split for row in rows], dtype=np.str_),
    )


def _modality(
    study: Study,
    table: Manifest,
    name: str,
    cache_dir: Path | None,
    problems: list[str],
) -> FloatArray:
    settings = study.modalities[name]
    front_end_name = front_end_of(name, settings)
    options = options_of(name, settings)
    shape = FRONT_ENDS[front_end_name].shape(options)
    x = np.zeros((len(table.rows), *shape), dtype=np.float32)
    for source, index in _progress(name, _by_source(table.rows, name)):
        windows = [(table.rows[i].start_s, table.rows[i].end_s) for i in index]
        try:
            x[index] = _features(front_end_name, source, windows, options, cache_dir)
        except DataError as error:
            problems.append(f"{table.where(table.rows[index[0]].line)}: {name}: {error}")
    return x


def _by_source(rows: Sequence[Row], name: str) -> list[tuple[Source, list[int]]]:
    groups: dict[Source, list[int]] = {}
    for i, row in enumerate(rows):
        if name in row.sources:
            groups.setdefault(row.sources[name], []).append(i)
    return list(groups.items())


def _features(
    front_end_name: str,
    source: Source,
    windows: Sequence[Window],
    options: Options,
    cache_dir: Path | None,
) -> list[FloatArray]:
    reader = front_end(front_end_name)
    shape = FRONT_ENDS[front_end_name].shape(options)
    files = reader.files(source)
    if cache_dir is None or not files:
        return _checked(reader, source, windows, options, shape)
    key = cache_key(content_hash(files), front_end_name, reader.version, options)
    known = load_cached(cache_dir, key, shape)
    todo = [window for window in dict.fromkeys(windows) if window_name(window) not in known]
    if todo:
        fresh = _checked(reader, source, todo, options, shape)
        known |= {window_name(w): values for w, values in zip(todo, fresh, strict=True)}
        store_cached(cache_dir, key, known)
    return [known[window_name(window)] for window in windows]


def _checked(
    reader: FrontEnd, source: Source, windows: Sequence[Window], options: Options, shape: Shape
) -> list[FloatArray]:
    found = reader.extract(source, windows, options)
    for values in found:
        if values.shape != shape or not np.isfinite(values).all():
            raise DataError(f"features of shape {values.shape}, some not finite; expected {shape}")
    return found


def _progress(
    name: str, items: list[tuple[Source, list[int]]]
) -> Iterator[tuple[Source, list[int]]]:
    files = sum(isinstance(source, Path) for source, _ in items)
    console = Console(stderr=True)
    with Progress(
        console=console,
        transient=True,
        disable=files < SLOW_SOURCES or not console.is_terminal,
    ) as progress:
        yield from progress.track(items, description=f"reading {name}")
