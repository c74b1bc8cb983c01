"""Files that are replaced whole."""

import os
from pathlib import Path

from common.errors import EnvironmentFault


def write_atomically(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new, never a part.

    Args:
        path: the file; its folder is made when it is not there.
        content: all of it.
        private: readable and writable by its owner only, from the first byte on.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written.
    """
    part = path.with_name(path.name + ".part")
    mode = 0o600 if private else 0o666
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        descriptor = os.open(part, flags, mode)
        with os.fdopen(descriptor, "wb") as out:
            if private:
                os.fchmod(descriptor, mode)  # a crash may have left a part that others can read
            out.write(content)
            out.flush()
            os.fsync(descriptor)
        part.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be written: {error.strerror}.") from error


def _sync(folder: Path) -> None:
    """See to it that a name in a folder outlasts a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
