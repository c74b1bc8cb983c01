"""Quantised fields in 64-bit words, a chunk at a time, so that what is worked on stays in cache.

Planar: with m words, word i holds fields i, i + m, i + 2m, each a signed integer. No array
of all fields is ever made. A chunk is 256 KiB, a segment of the stream that rounds.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.compiled import compiled
from common.errors import DataError, ProtocolError
from common.secagg.layout import Layout
from common.secagg.masks import SEGMENT_WORDS, Stream, Words
from common.secagg.memory import empty

CHUNK = SEGMENT_WORDS
FRACTION_BITS = 21
# The last bit of this float64 is 2^-21: adding x to it leaves round(2^21 x) in its mantissa.
MAGIC = 1.5 * 2.0 ** (52 - FRACTION_BITS)
WHOLE = np.float64(MAGIC).view(np.uint64) >> np.uint64(FRACTION_BITS)
FRACTION = np.uint64((1 << FRACTION_BITS) - 1)
_CUT = np.uint64(FRACTION_BITS)
PLANES = 3
_NONE = np.uint64(0)
Bits = tuple[np.uint64, np.uint64, np.uint64]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Values = NDArray[Any]


@dataclass(frozen=True)
class Scaled:
    """The values of one tensor and what they are multiplied by to be in steps of its grid.

    Args:
        name: of the tensor, for errors.
        values_N: its values, flat; None for zeros.
        factor: weight over grid, above 0.
    """

    name: str
    values_N: Values | None
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
    m, ends, random = words_M.size, _ends(layout), np.empty(0, np.uint64)
    limit, shifts, places = np.float64(layout.limit), *_bits(layout)
    for start, end in pairwise(_cuts(layout, ends, m)):
        if start % CHUNK == 0:
            random = noise.take(8 * min(CHUNK, m - start)).view(np.uint64)
        parts = [_part(tensors, ends, j * m + start, end - start) for j in range(PLANES)]
        a, b, c = _alike([part.values_N for part in parts], end - start)
        factors = parts[0].factor, parts[1].factor, parts[2].factor
        drawn = random[start % CHUNK :][: end - start]
        if not put_rounded(a, b, c, factors, limit, drawn, shifts, places, words_M[start:end]):
            _refuse(parts, layout.limit)


def _bits(layout: Layout) -> tuple[Bits, Bits]:
    """Return where each field stands in its word, and its 21 bits in the random word.

    A word of two fields has a third that is always 0, on top of the first.
    """
    one, two = np.uint64(layout.field_bits), np.uint64(64 - FRACTION_BITS)
    if layout.fields_a_word < PLANES:
        return (_NONE, one, _NONE), (two, one - _CUT, _NONE)
    return (_NONE, one, one + one), (two, _NONE, one)


def _cuts(layout: Layout, ends: Sequence[int], m: int) -> list[int]:
    """Return between which words each field is of one tensor only, and of one chunk."""
    inner = {end - j * m for end in ends for j in range(layout.fields_a_word)}
    return sorted({cut for cut in inner if 0 < cut < m} | {*range(0, m, CHUNK), m})


def _part(tensors: Sequence[Scaled], ends: Sequence[int], first: int, size: int) -> Scaled:
    """Return the values of these fields; they are of one tensor, or beyond the last."""
    i = bisect_right(ends, first)
    values = tensors[i].values_N if i < len(ends) else None
    if values is None:
        return Scaled("", None, 1.0)
    at = first - (ends[i - 1] if i else 0)
    return Scaled(tensors[i].name, values[at : at + size], tensors[i].factor)


def _alike(planes: Sequence[Values | None], size: int) -> list[Values]:
    """Return planes as the loop is compiled for: all of one precision, in a row; zeros for None."""
    single = all(plane is None or plane.dtype == np.float32 for plane in planes)
    dtype = np.float32 if single else np.float64
    alike = []
    for plane in planes:
        found = np.zeros(size, dtype) if plane is None else np.ascontiguousarray(plane, dtype)
        found = found.view()
        found.flags.writeable = False
        alike.append(found)
    return alike


@compiled
def put_rounded(
    one: Values,
    two: Values,
    three: Values,
    factors: tuple[float, float, float],
    limit: np.float64,
    random: Words,
    shifts: Bits,
    places: Bits,
    out: Words,
) -> bool:
    """Write words of three fields: floor(value · factor + u).

    Args:
        one: values of the first field of each word; then of the second and the third.
        factors: what they are multiplied by.
        limit: the largest field; a product that only its own rounding put beyond is brought back.
        random: words with the bits of u.
        shifts: where a field starts in its word.
        places: where the bits of u start in a random word.
        out: takes the words.

    Returns: whether all products are finite and within the limit; the words are void otherwise.
    """
    most, fits = limit * (1 + 2.0**-40), True
    for n in range(out.size):
        word, u = np.uint64(0), random[n]
        for j in range(PLANES):
            value = one[n] if j == 0 else two[n] if j == 1 else three[n]
            x = np.float64(value) * factors[j]
            fits &= bool(abs(x) <= most)
            x = limit if x > limit else x
            x = -limit if x < -limit else x
            fine = np.float64(x + MAGIC).view(np.uint64) + ((u >> places[j]) & FRACTION)
            word += ((fine >> _CUT) - WHOLE) << shifts[j]
        out[n] = word
    return fits


def _refuse(parts: Sequence[Scaled], limit: int) -> None:
    """Raise DataError for the first of these tensors that holds what cannot be sent."""
    for part in parts:
        if part.values_N is not None:
            x_N = np.multiply(part.values_N, part.factor, dtype=np.float64)
            if not np.abs(x_N).max() <= limit * (1 + 2.0**-40):
                raise DataError(f"{part.name}: {_wrong(x_N)}")


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
    # The last field takes all bits that are left, the highest of the word included.
    fields = [np.uint64((1 << (bits if j + 1 < k else 64)) - 1) for j in range(k)]
    out = empty(k * m, np.float64, keep=True)
    for start in range(0, m, CHUNK):
        words = words_M[start : start + CHUNK]
        for j in range(k):
            first, at = j * m + start, np.uint64(j * bits)
            for grid, offset, size in _grids(ends, grids, first, words.size):
                part = words[offset : offset + size]
                x = out[first + offset : first + offset + size]
                if take_field(part, bias, at, fields[j], most, grid, x) > 2 * most:
                    raise ProtocolError(
                        "a field of the sum is larger than its contributors can make it"
                    )
    return out[: layout.fields]


def _grids(
    ends: Sequence[int], grids: Sequence[float], first: int, size: int
) -> Iterator[tuple[float, int, int]]:
    """Yield (grid, offset, size) of the tensors in these fields; 1 for those beyond the last."""
    done = 0
    for i, _, offset, count in _stretches(ends, first, size):
        done = offset + count
        yield grids[i], offset, count
    if done < size:
        yield 1.0, done, size - done


@compiled
def take_field(
    words: Words,
    bias: np.uint64,
    at: np.uint64,
    field: np.uint64,
    most: int,
    grid: float,
    out: FloatArray,
) -> int:
    """Read one field of each word.

    Args:
        words: of a sum.
        bias: adds `most` to each field of a word, which is then 0 to 2 · most when it is sound.
            One that is not borrows from, or carries into, the next; but then it is itself
            beyond 2 · most, and the whole sum is refused.
        at: first bit of the field.
        field: as many ones as the field has bits.
        most: the largest absolute field of a sum.
        grid: what a unit is worth.
        out: takes the values.

    Returns: the largest field, with `most` added.
    """
    largest = np.uint64(0)
    for n in range(words.size):
        found = ((words[n] + bias) >> at) & field
        largest = max(largest, found)
        out[n] = np.float64(np.int64(found) - most) * grid
    return int(largest)


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
