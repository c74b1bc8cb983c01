"""Room for whole vectors: on huge pages where the system has them.

New memory costs a page fault for every 4 KiB of it that is touched first: for a vector of a
million parameters that is more than adding it up. With pages of 2 MiB the faults are 512
times fewer. Small arrays come from NumPy, whose memory was mostly used before.
"""

import mmap
from contextlib import suppress
from typing import TypeVar
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

HUGE_BYTES = 1 << 21
LARGE_BYTES = HUGE_BYTES // 2

_KEPT: dict[int, mmap.mmap] = {}
"""One room of a size, whose array is gone."""

Number = TypeVar("Number", np.float64, np.uint64)


def empty(size: int, dtype: type[Number], keep: bool = False) -> NDArray[Number]:
    """Return a flat array of that many numbers, whose values are arbitrary.

    Args:
        size: how many.
        dtype: of the numbers.
        keep: whether its room, when the array is gone, is kept for another of that size: for
            what is no secret, and is wanted in every round.
    """
    size_bytes = size * np.dtype(dtype).itemsize
    if size_bytes < LARGE_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty(size, dtype)
    whole_bytes = -(-size_bytes // HUGE_BYTES) * HUGE_BYTES
    room = _KEPT.pop(whole_bytes, None) or _room(whole_bytes)
    array = np.frombuffer(room, dtype, size)
    if keep:
        finalize(array, _KEPT.setdefault, whole_bytes, room).atexit = False
    return array


def _room(size_bytes: int) -> mmap.mmap:
    room = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without huge pages: the room is as good, only slower
        room.madvise(mmap.MADV_HUGEPAGE)
    return room


def zeros(size_bytes: int) -> memoryview:
    """Return zeros that can only be read.

    They are pages that nobody wrote to, which all are the system's one page of zeros: reading
    them takes no room in the cache.
    """
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return memoryview(bytes(size_bytes))
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return memoryview(mmap.mmap(-1, size_bytes, flags=flags, prot=mmap.PROT_READ))
