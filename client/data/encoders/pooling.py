"""From pieces of many clips to one vector a clip, in batches of pieces of like size.

Pieces are gathered until several batches are full, sorted by size so that little is padded, run,
and added to the sums of their clips. So neither a long recording nor many short ones are held.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from client.data.arrays import FloatArray
from client.data.encoders.kinds import Kind, Piece
from common.errors import DataError

GATHERED = 4
"""Batches that are gathered before they are sorted and run."""
K = TypeVar("K")
Sums = npt.NDArray[np.float64]


@dataclass
class _Clip(Generic[K]):
    """A clip on its way: what was added up, and how many of its pieces still wait."""

    key: K
    total_F: Sums | None = None
    count: int = 0
    waiting: int = 0
    fault: DataError | None = None
    is_whole: bool = False

    def add(self, total_F: Sums, count: int) -> None:
        self.total_F = total_F if self.total_F is None else self.total_F + total_F
        self.count += count
        self.waiting -= 1

    def result(self) -> FloatArray | DataError:
        if self.fault or self.total_F is None:
            return self.fault or DataError("nothing in it that the encoder reads")
        return np.asarray(self.total_F / self.count, dtype=np.float32)


@dataclass
class _Gathered(Generic[K]):
    """Pieces that wait, each with its clip, and the size of all of them."""

    pieces: list[tuple[_Clip[K], Piece]] = field(default_factory=list)
    size: int = 0


Pool = Callable[[Tensor, Tensor], tuple[Sums, list[int]]]


def pooled(
    kind: Kind, pooling: str, clips: Iterable[tuple[K, Iterator[Piece]]]
) -> Iterator[tuple[K, FloatArray | DataError]]:
    """Yield each clip's vector, or what is wrong with the clip.

    Args:
        kind: runs the pieces.
        pooling: "mean" over every real state of the clip, or "first" state of each piece.
        clips: key and pieces of each; pieces are read one after another.

    Guarantees: each clip comes once, and the order may differ; a clip's vector depends on other
    clips by the rounding of single precision alone; at most a few batches of pieces are held.
    """
    gathered: _Gathered[K] = _Gathered()
    open_clips: list[_Clip[K]] = []
    for key, pieces in clips:
        clip = _Clip(key)
        open_clips.append(clip)
        try:
            for piece in pieces:
                clip.waiting += 1
                gathered.pieces.append((clip, piece))
                gathered.size += piece.size
                if gathered.size >= GATHERED * kind.budget:
                    gathered = _run(kind, POOLINGS[pooling], gathered)
        except DataError as error:
            clip.fault = error
        clip.is_whole = True
        yield from _finished(open_clips)
    _run(kind, POOLINGS[pooling], gathered)
    yield from _finished(open_clips)


def _finished(clips: list[_Clip[K]]) -> Iterator[tuple[K, FloatArray | DataError]]:
    for clip in [clip for clip in clips if clip.is_whole and not clip.waiting]:
        clips.remove(clip)
        yield clip.key, clip.result()


def _run(kind: Kind, pool: Pool, gathered: _Gathered[K]) -> _Gathered[K]:
    """Run everything that waits, in batches; returns what waits afterwards: nothing."""
    ordered = sorted(gathered.pieces, key=lambda one: -one[1].size)
    for batch in batches([piece for _, piece in ordered], kind):
        states_BTF, known_BT = kind.run([ordered[i][1] for i in batch])
        total_BF, count_B = pool(states_BTF, known_BT)
        for i, total_F, count in zip(batch, total_BF, count_B, strict=True):
            ordered[i][0].add(total_F, count)
    return _Gathered()


def batches(pieces: Sequence[Piece], kind: Kind) -> Iterator[range]:
    """Cut pieces, sorted from large to small, into batches within the budget."""
    start = 0
    for end in range(1, len(pieces) + 1):
        most = pieces[start].size
        if (
            end == len(pieces)
            or (end + 1 - start) * most > kind.budget
            or (pieces[end].size != most and not kind.is_padded)
        ):
            yield range(start, end)
            start = end


def _mean(states_BTF: Tensor, known_BT: Tensor) -> tuple[Sums, list[int]]:
    known_BT = known_BT.to(states_BTF.device)
    total_BF = torch.where(known_BT[..., None], states_BTF, 0).sum(dim=1, dtype=torch.float64)
    return total_BF.cpu().numpy(), [int(count) for count in known_BT.sum(dim=1)]


def _first(states_BTF: Tensor, known_BT: Tensor) -> tuple[Sums, list[int]]:
    return states_BTF[:, 0].double().cpu().numpy(), [1] * len(known_BT)


POOLINGS: dict[str, Pool] = {"mean": _mean, "first": _first}
