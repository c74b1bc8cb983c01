"""Quantised fields in 64-bit words, a chunk at a time, so that what is worked on stays in cache.

Planar: with m words, word i holds fields i, i + m, i + 2m, each a signed integer. No array
of all fields is ever made. A chunk is 1 MiB: in shorter ones NumPy's calls cost more than the
second level of cache saves.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from common.errors import DataError, ProtocolError
from common.secagg.layout import Layout
from common.secagg.masks import Stream, Words
from common.secagg.memory import empty

CHUNK = 1 << 17
FRACTION_BITS = 21
# The last bit of this float64 is 2^-21: adding x to it leaves round(2^21 x) in its mantissa.
MAGIC = 1.5 * 2.0 ** (52 - FRACTION_BITS)
MAGIC_BITS = int(np.float64(MAGIC).view(np.uint64))
FRACTION = (1 << FRACTION_BITS) - 1
# The bits of 2^52 with an integer g below 2^52 in them are the float64 2^52 + g.
BIG_BITS = int(np.float64(2.0**52).view(np.uint64))
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Scaled:
    """The values of one tensor and what they are multiplied by to be in steps of its grid.

    Args:
        name: of the tensor, for errors.
        values_N: its values, flat; None for zeros.
        factor: weight over grid, above 0.
    """

    name: str
    values_N: NDArray[np.generic] | None
    factor: float


def round_into(words_M: Words, layout: Layout, tensors: Sequence[Scaled], noise: Stream) -> None:
    """Write floor(value · factor + u) of all values into packed words; u is uniform in [0, 1).

    Args:
        words_M: the packed words; overwritten.
        layout: public meaning of the words.
        tensors: one for each real tensor of the layout, in order.
        noise: where u comes from, 21 bits each.

    Raises:
        DataError: a value is not finite, or beyond ± layout.limit steps.

    Guarantees: the expectation of each field is the value · factor to within 2^-21: the
    product is rounded to a multiple of 2^-21, which is off by at most 2^-22, and u is
    uniform on those multiples, so that the second rounding is exact in expectation.
    """
    k, m = layout.fields_a_word, words_M.size
    ends, magic = _ends(layout), np.uint64(_magic(layout))
    plane, spare = empty(2 * min(CHUNK, m), np.uint64).reshape(2, -1)
    for start in range(0, m, CHUNK):
        out = words_M[start : start + CHUNK]
        random = noise.take(8 * out.size).view(np.uint64)
        for j in range(k):
            x = plane[: out.size]
            _scale(tensors, ends, j * m + start, x.view(np.float64), layout.limit)
            _put(out, j, x, random, spare[: out.size], layout)
        np.subtract(out, magic, out=out)


def _put(
    out_N: Words, j: int, plane_N: Words, random_N: Words, spare_N: Words, layout: Layout
) -> None:
    """Add 21 random bits to the fractions of plane j, cut them off, and put it into its field.

    The plane holds MAGIC_BITS + round(2^21 x). Each takes bits of its own of a random word.
    """
    if j == 0:
        np.right_shift(random_N, np.uint64(64 - FRACTION_BITS), out=out_N)
        np.add(out_N, plane_N, out=out_N)
        np.right_shift(out_N, np.uint64(FRACTION_BITS), out=out_N)
        return
    at = j * layout.field_bits
    up = at - FRACTION_BITS
    if up:
        np.left_shift(plane_N, np.uint64(up), out=plane_N)
    np.bitwise_and(random_N, np.uint64(FRACTION << up), out=spare_N)
    np.add(plane_N, spare_N, out=plane_N)
    np.bitwise_and(plane_N, np.uint64((1 << 64) - (1 << at)), out=plane_N)
    np.add(out_N, plane_N, out=out_N)


def _magic(layout: Layout) -> int:
    """Return what the planes' MAGIC_BITS add up to in a word."""
    first = MAGIC_BITS >> FRACTION_BITS
    others = range(1, layout.fields_a_word)
    return (first + sum(MAGIC_BITS << j * layout.field_bits - FRACTION_BITS for j in others)) % (
        1 << 64
    )


def _scale(
    tensors: Sequence[Scaled], ends: Sequence[int], first: int, out_N: FloatArray, limit: int
) -> None:
    """Write MAGIC + value · factor of the fields from `first` on; MAGIC where there are none."""
    done = 0
    for i, at, offset, size in _stretches(ends, first, out_N.size):
        done, one, x = offset + size, tensors[i], out_N[offset : offset + size]
        if one.values_N is None:
            x.fill(MAGIC)
            continue
        values = one.values_N[at : at + size]
        np.copyto(x, values)
        np.multiply(x, one.factor, out=x)
        most, least = float(values.max()) * one.factor, float(values.min()) * one.factor
        if not (most <= limit and least >= -limit):
            _clip_rounding(x, limit, one.name)
        np.add(x, MAGIC, out=x)
    out_N[done:] = MAGIC


def _clip_rounding(x_N: FloatArray, limit: int, name: str) -> None:
    """Clip values that only the rounding of the scale put beyond ±limit; refuse all others."""
    if not np.abs(x_N).max() <= limit * (1 + 2.0**-40):
        raise DataError(f"{name}: {_wrong(x_N)}")
    np.clip(x_N, -limit, limit, out=x_N)


def _wrong(x_N: FloatArray) -> str:
    """Return what is wrong with values that were refused, without saying any of them."""
    if np.isnan(x_N).any():
        return "holds NaN; mend the training before it can be sent"
    if np.isinf(x_N).any():
        return "holds an infinity; mend the training before it can be sent"
    return "a value is beyond the public scale; clip it, or agree on a larger scale in the policy"


def pack_into(words_M: Words, layout: Layout, tensors: Sequence[IntArray]) -> None:
    """Write integers within ± layout.limit, flat and one array a tensor, into packed words."""
    k, m, ends = layout.fields_a_word, words_M.size, _ends(layout)
    room = np.empty(min(CHUNK, m), np.int64)
    for start in range(0, m, CHUNK):
        out = words_M[start : start + CHUNK].view(np.int64)
        out.fill(0)
        for j in range(k):
            plane = room[: out.size]
            plane.fill(0)
            for i, at, offset, size in _stretches(ends, j * m + start, out.size):
                plane[offset : offset + size] = tensors[i][at : at + size]
            np.left_shift(plane, j * layout.field_bits, out=plane)
            np.add(out, plane, out=out)


def unpack(words_M: Words, layout: Layout, sites: int) -> FloatArray:
    """Return the fields of a sum of that many sites, each times the grid of its tensor.

    Raises:
        ProtocolError: a field is larger than its contributors can make it.
    """
    k, m, bits, ends = layout.fields_a_word, words_M.size, layout.field_bits, _ends(layout)
    grids = [layout.grid(real) for real in layout.reals]
    most = sites * layout.limit
    bias = np.uint64(sum(most << j * bits for j in range(k)))
    out = empty(k * m, np.float64).reshape(k, m)
    room = empty(min(CHUNK, m), np.uint64)
    for start in range(0, m, CHUNK):
        left = room[: min(CHUNK, m - start)]
        np.add(words_M[start : start + CHUNK], bias, out=left)
        for j in range(k):
            x = out[j, start : start + CHUNK]
            _field(left, j, layout, most, x)
            for i, _, offset, size in _stretches(ends, j * m + start, x.size):
                part = x[offset : offset + size]
                np.multiply(part, grids[i], out=part)
    return out.reshape(-1)[: layout.fields]


def _field(left_N: Words, j: int, layout: Layout, most: int, out_N: FloatArray) -> None:
    """Write field j of words to each of whose fields `most` was added.

    Such a field is 0 to 2 · most when it is sound. One that is not borrows from, or carries
    into, the next; but then it is itself beyond 2 · most, and all are refused. The last
    takes all bits that are left, the highest of the word included.
    """
    whole = out_N.view(np.uint64)
    np.right_shift(left_N, np.uint64(j * layout.field_bits), out=whole)
    if j + 1 < layout.fields_a_word:
        np.bitwise_and(whole, np.uint64((1 << layout.field_bits) - 1), out=whole)
    if int(whole.max()) > 2 * most:
        raise ProtocolError("a field of the sum is larger than its contributors can make it")
    np.bitwise_or(whole, np.uint64(BIG_BITS), out=whole)
    np.subtract(out_N, 2.0**52 + most, out=out_N)


def _ends(layout: Layout) -> list[int]:
    """Return where each real tensor ends among all fields."""
    return list(accumulate(real.size for real in layout.reals))


def _stretches(ends: Sequence[int], first: int, size: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (tensor, first value, offset, size) of the tensors in fields first to first + size.

    Args:
        ends: where each tensor ends among all fields.
        first: field at offset 0.
        size: how many fields; those beyond the last tensor are in no stretch.
    """
    at, i = first, bisect_right(ends, first)
    while i < len(ends) and at < first + size:
        stop = min(ends[i], first + size)
        if stop > at:
            yield i, at - (ends[i - 1] if i else 0), at - first, stop - at
        at, i = stop, i + 1
