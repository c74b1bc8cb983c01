"""Features kept at the site, under a hash of the recording, the front end and its options."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from client.data.arrays import FloatArray
from client.data.features.base import Window
from client.data.readers.arrays import read_npz
from common.errors import DataError
from common.inputs import Options, Shape


def cache_key(content: str, front_end: str, version: int, options: Options) -> str:
    """Return the name of a cache entry: any change of its inputs changes it."""
    parts = json.dumps([content, front_end, version, dict(options)], sort_keys=True, default=str)
    return hashlib.sha256(parts.encode()).hexdigest()


def load_cached(folder: Path, key: str, shape: Shape) -> dict[str, FloatArray]:
    """Return the windows of an entry; a missing or damaged entry is empty."""
    path = _path(folder, key)
    if not path.exists():
        return {}
    try:
        arrays = read_npz(path)
    except DataError:
        return {}
    return {n: a for n, a in arrays.items() if a.shape == shape and a.dtype == np.float32}


def store_cached(folder: Path, key: str, windows: Mapping[str, FloatArray]) -> None:
    """Write an entry in one step, readable by its owner only."""
    path = _path(folder, key)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, allow_pickle=False, **dict(windows))
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def window_name(window: Window) -> str:
    """Return the name under which a window's features are stored."""
    start_s, end_s = window
    return f"{start_s:.6f}-{'end' if end_s is None else format(end_s, '.6f')}"


def _path(folder: Path, key: str) -> Path:
    return folder / key[:2] / f"{key}.npz"
