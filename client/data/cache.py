"""Features kept at the site, under a hash of the recording, the front end and its options."""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from client.data.arrays import FloatArray
from client.data.features.base import Window
from client.data.readers.arrays import read_npz
from common.errors import DataError
from common.files import write_atomically
from common.inputs import Options, Shape


def cache_key(content: str, front_end: str, version: int, options: Options) -> str:
    """Return the name of a cache entry: any change of its inputs changes it."""
    parts = json.dumps([content, front_end, version, dict(options)], sort_keys=True, default=str)
    return hashlib.sha256(parts.encode()).hexdigest()


def load_cached(folder: Path, key: str, shape: Shape) -> dict[str, FloatArray]:
    """Return the windows of an entry; a missing or damaged entry is empty.

    Guarantees: an entry that was changed, cut short, or moved from another key is empty.
    """
    path = _path(folder, key)
    if not path.exists():
        return {}
    try:
        arrays = read_npz(path)
        names, values, seal = (arrays[name] for name in ("windows", "values", "seal"))
    except (DataError, KeyError):
        return {}
    is_sealed = seal.tobytes() == _seal(key, names.tobytes(), values.tobytes())
    if not is_sealed or values.dtype != np.float32 or values.shape != (len(names), *shape):
        return {}
    return {str(name): value for name, value in zip(names, values, strict=True)}


def store_cached(folder: Path, key: str, windows: Mapping[str, FloatArray]) -> None:
    """Write an entry in one step, readable by its owner only."""
    names, values = np.array(list(windows), dtype=np.str_), np.stack(list(windows.values()))
    seal = np.frombuffer(_seal(key, names.tobytes(), values.tobytes()), dtype=np.uint8)
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, windows=names, values=values, seal=seal)
    path = str(_path(folder, key))
    part = f"{path}.{os.getpid()}.part"  # no other process writes to it
    try:
        with os.fdopen(_opened(part), "wb", buffering=0) as file:
            os.fchmod(file.fileno(), 0o600)  # a crash may have left a part that others can read
            file.write(content.getbuffer())
        os.replace(part, path)  # noqa: PTH105 - once for each recording: a third of the cost
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _opened(part: str) -> int:
    """Open a file that is to be written, its owner's alone; its folder is made if need be."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        return os.open(part, flags, 0o600)
    except FileNotFoundError:
        Path(part).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(part, flags, 0o600)


def keep_record(folder: Path, name: str, record: Mapping[str, object]) -> None:
    """Keep beside the features, once, what made them; readable by its owner only."""
    path = folder / "encoders" / f"{name}.json"
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode(), private=True)


def window_name(window: Window) -> str:
    """Return the name under which a window's features are stored."""
    start_s, end_s = window
    return f"{start_s:.6f}-{'end' if end_s is None else format(end_s, '.6f')}"


def _seal(key: str, names: bytes, values: bytes) -> bytes:
    parts = (key.encode(), names, values)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def _path(folder: Path, key: str) -> Path:
    return folder / key[:2] / f"{key}.npz"
