"""Which files may be opened at all: inside the manifest's folder, of bounded size."""

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from common.errors import DataError


def inside(folder: Path, relative: str) -> Path:
    """Return the real path of a file or folder that a manifest names.

    Guarantees: the result lies inside `folder` after every symbolic link is followed.

    Raises:
        DataError: when the path leaves the folder, does not exist, or is no path.
    """
    root = folder.resolve()
    try:
        if os.path.isabs(relative) and not Path(relative).is_relative_to(root):  # noqa: PTH117
            raise DataError("the path leads outside the manifest's folder")
        target = Path(os.path.realpath(root / relative))
        if not target.is_relative_to(root):
            raise DataError("the path leads outside the manifest's folder")
        if not target.exists():
            raise DataError("no such file")
    except (OSError, ValueError):
        raise DataError("not a usable path") from None
    return target


def check_size(path: Path, most_bytes: int) -> None:
    """Refuse what is no regular file, is empty, or is larger than `most_bytes`.

    Raises:
        DataError: saying which of these it is.
    """
    try:
        status = path.stat()
    except (OSError, ValueError):
        raise DataError(f"{path.name}: no such file, or it cannot be opened") from None
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path.name}: expected a regular file")
    if status.st_size == 0:
        raise DataError(f"{path.name}: the file is empty")
    if status.st_size > most_bytes:
        raise DataError(
            f"{path.name}: {status.st_size / 1e6:,.0f} MB; at most {most_bytes / 1e6:,.0f} MB"
        )


def content_hash(files: Sequence[Path]) -> str:
    """Return the SHA-256 over the contents of files, in their order."""
    outer = hashlib.sha256()
    for path in files:
        outer.update(bytes.fromhex(file_hash(path)))
    return outer.hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, as `sha256sum` does."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
