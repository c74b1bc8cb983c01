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
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from common.errors import EnvironmentFault

_LOCK = re.compile(r"lock ([0-9a-f]*)")
_BEGIN = re.compile(r"begin (\d+) (\d+) ([0-9a-f]{64})")
NONE = (-1, -1)


@dataclass
class _Seen:
    """What a file holds up to some place in it.

    Args:
        file: which file: device and inode.
        size: up to where it was read; ends with a whole line.
        locked: keys.
        newest: series -> (round, attempt).
    """

    file: tuple[int, int] = (0, 0)
    size: int = 0
    locked: set[str] = field(default_factory=set)
    newest: dict[str, tuple[int, int]] = field(default_factory=dict)

    def take(self, line: str) -> None:
        """Take a line into account; one that a crash spoiled says nothing."""
        lock, begin = _LOCK.fullmatch(line), _BEGIN.fullmatch(line)
        if lock:
            self.locked.add(lock[1])
        if begin:
            found = int(begin[1]), int(begin[2])
            self.newest[begin[3]] = max(self.newest.get(begin[3], NONE), found)


class FileLocks:
    """The protocol's Locks in one file of the site's folder, mode 0600.

    Each call reads what was appended since the last one, by whatever process.

    Args:
        path: the file; made when it is not there.

    Raises:
        EnvironmentFault: the disk is full or the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _Seen()

    def locked(self, key: bytes) -> bool:
        """Whether this key was ever locked."""
        with self._open() as file:
            return key.hex() in self._read(file).locked

    def lock(self, key: bytes) -> bool:
        """Lock a key; False when it was locked before. Atomic between processes."""
        with self._open() as file:
            if key.hex() in self._read(file).locked:
                return False
            _append(file, f"lock {key.hex()}\n")
        return True

    def newest(self, series: str) -> tuple[int, int]:
        """The newest (round, attempt) begun in a series; (-1, -1) when none was."""
        with self._open() as file:
            return self._read(file).newest.get(_named(series), NONE)

    def begin(self, series: str, round_: int, attempt: int) -> None:
        """Record (round, attempt) as the newest of the series."""
        with self._open() as file:
            _append(file, f"begin {round_} {attempt} {_named(series)}\n")

    def _read(self, file: IO[bytes]) -> _Seen:
        """What the file holds; from its start where it is another file or a shorter one."""
        found = os.fstat(file.fileno())
        which = found.st_dev, found.st_ino
        if self._seen.file != which or self._seen.size > found.st_size:
            self._seen = _Seen(which)
        file.seek(self._seen.size)
        for line in file:
            if line.endswith(b"\n"):
                self._seen.take(line[:-1].decode("utf-8", "replace"))
                self._seen.size += len(line)
        return self._seen

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield file
        except OSError as error:
            raise EnvironmentFault(f"{self._path} cannot be written: {error.strerror}.") from error


def _named(series: str) -> str:
    """A series as one word: its name is the coordinator's, and may hold anything."""
    return hashlib.sha256(series.encode()).hexdigest()


def _append(file: IO[bytes], line: str) -> None:
    """Write a line; one that a crash left unfinished is ended first, so it spoils no other."""
    size = file.seek(0, os.SEEK_END)
    if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
        file.write(b"\n")
    file.write(line.encode())
    file.flush()
    os.fsync(file.fileno())
