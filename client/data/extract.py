"""From the sources of a modality to features, through the cache: what is known is not redone."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from client.data.arrays import FloatArray
from client.data.cache import cache_key, keep_record, load_cached, store_cached, window_name
from client.data.encoders.frozen import VERSION, Frozen, find_frozen
from client.data.features import front_end
from client.data.features.base import FrontEnd, Window
from client.data.manifest import Source
from client.data.readers.files import content_hash
from common.config import FrozenEncoder, Modality
from common.errors import DataError
from common.inputs import DEFAULT_FRONT_END, ENCODER, Options, Shape, front_end_of, options_of
from common.inputs import FRONT_ENDS as SPECS

PART = 64
"""Windows of one source after which what was found so far is kept."""
Clips = Sequence[tuple[Source, Sequence[Window]]]


@dataclass
class Job:
    """A source whose features are asked for.

    Args:
        number: its place among the sources.
        source: to be read.
        windows: all that are asked for, in order.
        key: of its cache entry; "" keeps nothing.
        known: window's name -> features.
        todo: windows that are not known yet.
        fault: what is wrong with it, once that is known.
        is_cached: whether all of it was known before.
    """

    number: int
    source: Source
    windows: Sequence[Window]
    key: str
    known: dict[str, FloatArray]
    todo: list[Window]
    fault: DataError | None = None
    is_cached: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_cached = not self.todo


@dataclass(frozen=True)
class Found:
    """What came of a source.

    Args:
        number: its place among the sources.
        features: one array a window, or what is wrong with the source.
        is_cached: whether all of it came from the cache.
    """

    number: int
    features: list[FloatArray] | DataError
    is_cached: bool


class Extractor(Protocol):
    """One way from jobs to features.

    Args:
        front_end: its name in common.inputs.FRONT_ENDS.
        options: complete.
        version: of the front end.
    """

    @property
    def front_end(self) -> str:
        """Its name in common.inputs.FRONT_ENDS."""

    @property
    def options(self) -> Options:
        """Complete options."""

    @property
    def version(self) -> int:
        """Raised whenever the output changes."""

    def content(self, source: Source) -> str:
        """Return a hash of what a source holds; "" where it is not worth keeping."""

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Window, FloatArray | DataError]]:
        """Yield the features of each window that is to do, in any order."""

    def record(self, cache: Path) -> None:
        """Keep beside the features what made them."""


@dataclass(frozen=True)
class Light:
    """A front end without weights: source by source."""

    front_end: str
    options: Options
    reader: FrontEnd

    @property
    def version(self) -> int:
        """The front end's."""
        return self.reader.version

    def content(self, source: Source) -> str:
        """Return a hash over the files; what stands in the manifest itself is not kept."""
        files = self.reader.files(source)
        return content_hash(files) if files else ""

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Window, FloatArray | DataError]]:
        """Yield each window's features."""
        for job in jobs:
            try:
                found = self.reader.extract(job.source, job.todo, self.options)
            except DataError as error:
                yield job, job.todo[0], error
            else:
                for window, values in zip(tuple(job.todo), found, strict=True):
                    yield job, window, values

    def record(self, cache: Path) -> None:
        """Keep nothing: a front end without weights is known by name and version."""


@dataclass(frozen=True)
class Heavy:
    """A frozen encoder: windows of many sources in batches."""

    frozen: Frozen

    @property
    def front_end(self) -> str:
        """Such as "audio_encoder"."""
        return self.frozen.front_end

    @property
    def options(self) -> Options:
        """Complete; they hold the encoder's hash."""
        return self.frozen.options

    @property
    def version(self) -> int:
        """Of the way from clips to vectors."""
        return VERSION

    def content(self, source: Source) -> str:
        """Return a hash over the files, or over the text that stands in the manifest."""
        kind = SPECS[self.front_end].modality
        files = front_end(DEFAULT_FRONT_END[kind]).files(source)
        return content_hash(files) if files else hashlib.sha256(str(source).encode()).hexdigest()

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Window, FloatArray | DataError]]:
        """Yield each window's features, in any order."""
        clips = (((job, window), job.source, window) for job in jobs for window in tuple(job.todo))
        for (job, window), found in self.frozen.vectors(clips):
            yield job, window, found

    def record(self, cache: Path) -> None:
        """Keep names, hashes and licence of the encoder's files."""
        name = f"{self.options['model']}-{self.frozen.folder.sha256[:16]}"
        keep_record(cache, name, self.frozen.record)


def extractor_for(
    modality: str,
    settings: Modality,
    encoders: Mapping[str, FrozenEncoder],
    device: torch.device | None,
) -> Extractor:
    """Return what reads a modality of a study at this site.

    Raises:
        ConfigError: the modality is not well described, or this site has not the encoder that
            the study names.
    """
    name, options = front_end_of(modality, settings), options_of(modality, settings)
    if name.endswith(f"_{ENCODER}"):
        return Heavy(find_frozen(name, options, encoders, device))
    return Light(name, options, front_end(name))


def extract(extractor: Extractor, clips: Clips, cache: Path | None) -> Iterator[Found]:
    """Yield the features of every source once, in any order.

    Args:
        extractor: reads them.
        clips: sources, each with its windows in seconds.
        cache: folder of features; None keeps none.

    Guarantees: what the cache holds for equal content, front end, version and options is not
    computed again; what was computed is kept at the latest after 64 windows of a source, so an
    interrupted pass goes on where it was.
    """
    shape = SPECS[extractor.front_end].shape(extractor.options)
    ready: list[Found] = []
    jobs = _jobs(extractor, clips, cache, shape, ready)
    for job, window, found in extractor.run(jobs):
        result = _take(job, window, found, shape, cache)
        if result:
            ready.append(result)
        yield from _drained(ready)
    yield from _drained(ready)
    if cache is not None:
        extractor.record(cache)


def _drained(ready: list[Found]) -> Iterator[Found]:
    while ready:
        yield ready.pop(0)


def _jobs(
    extractor: Extractor, clips: Clips, cache: Path | None, shape: Shape, ready: list[Found]
) -> Iterator[Job]:
    """Yield what is to be computed; what needs no computing goes to `ready`."""
    for number, (source, windows) in enumerate(clips):
        try:
            content = extractor.content(source)
        except DataError as error:
            ready.append(Found(number, error, is_cached=False))
            continue
        keeps = cache is not None and content
        parts = (content, extractor.front_end, extractor.version, extractor.options)
        key = cache_key(*parts) if keeps else ""
        known = load_cached(cache, key, shape) if cache is not None and key else {}
        todo = [w for w in dict.fromkeys(windows) if window_name(w) not in known]
        job = Job(number, source, windows, key, known, todo)
        if todo:
            yield job
        else:
            ready.append(_whole(job))


def _take(
    job: Job, window: Window, found: FloatArray | DataError, shape: Shape, cache: Path | None
) -> Found | None:
    """Add a window to its job; returns the source's features when it was the last."""
    if job.fault:
        return None
    if not isinstance(found, DataError):
        found = _checked(found, shape)
    if isinstance(found, DataError):
        job.fault = found
        return Found(job.number, found, is_cached=False)
    job.known[window_name(window)] = found
    job.todo.remove(window)
    if cache is not None and job.key and len(job.todo) % PART == 0:
        store_cached(cache, job.key, job.known)
    return None if job.todo else _whole(job)


def _whole(job: Job) -> Found:
    features = [job.known[window_name(window)] for window in job.windows]
    return Found(job.number, features, job.is_cached)


def _checked(values: FloatArray, shape: Shape) -> FloatArray | DataError:
    if values.shape == shape and np.isfinite(values).all():
        return values
    return DataError(f"features of shape {values.shape}, some not finite; expected {shape}")
