"""What a site remembers for ever about its secure sums: an append-only file, synced each time.

A lock stops a second sum over the same model; the newest (round, attempt) of a series stops a
replay. Both must survive a restart, so each line is on disk before the call returns.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from common.errors import EnvironmentFault

_BEGIN = re.compile(r"begin (\d+) (\d+) ([0-9a-f]{64})")


class FileLocks:
    """The protocol's Locks in one file of the site's folder, mode 0600.

    Args:
        path: the file; made when it is not there.

    Raises:
        EnvironmentFault: the disk is full or the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def locked(self, key: bytes) -> bool:
        """Whether this key was ever locked."""
        with self._open() as file:
            return f"lock {key.hex()}\n" in file

    def lock(self, key: bytes) -> bool:
        """Lock a key; False when it was locked before. Atomic between processes."""
        line = f"lock {key.hex()}\n"
        with self._open() as file:
            if line in file:
                return False
            _append(file, line)
        return True

    def newest(self, series: str) -> tuple[int, int]:
        """The newest (round, attempt) begun in a series; (-1, -1) when none was."""
        with self._open() as file:
            return _newest(file, _named(series))

    def begin(self, series: str, round_: int, attempt: int) -> None:
        """Record (round, attempt) as the newest of the series."""
        with self._open() as file:
            _append(file, f"begin {round_} {attempt} {_named(series)}\n")

    @contextmanager
    def _open(self) -> Iterator[IO[str]]:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield file
        except OSError as error:
            raise EnvironmentFault(f"{self._path} cannot be written: {error.strerror}.") from error


def _named(series: str) -> str:
    """A series as one word: its name is the coordinator's, and may hold anything."""
    return hashlib.sha256(series.encode()).hexdigest()


def _append(file: IO[str], line: str) -> None:
    """Write a line; one that a crash left unfinished is ended first, so it spoils no other."""
    size = file.seek(0, os.SEEK_END)
    if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
        file.write("\n")
    file.write(line)
    file.flush()
    os.fsync(file.fileno())


def _newest(file: IO[str], series: str) -> tuple[int, int]:
    newest = (-1, -1)
    for line in file:
        match = _BEGIN.fullmatch(line.rstrip("\n"))
        if match and match[3] == series:
            newest = max(newest, (int(match[1]), int(match[2])))
    return newest
