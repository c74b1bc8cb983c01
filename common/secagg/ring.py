"""Real tensors, weights and counts to words mod 2^64, and their sum back.

Rounding is stochastic, from a cryptographic stream, so that the sum is unbiased. What does
not fit is refused at the site and never wrapped.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.errors import DataError, PrivacyError, ProtocolError
from common.secagg.derive import derive
from common.secagg.layout import Exact, Layout, Real
from common.secagg.masks import Stream, Words

CHUNK = 1 << 15
EXACT_LIMIT = 1 << 20  # up to here a field plus 32 random bits is exact in float64
Item = TypeVar("Item", Real, Exact)
Number = TypeVar("Number", np.int32, np.int64)
FieldArray = NDArray[np.int32]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Decoded:
    """What a sum says.

    Args:
        sums: {tensor: Σ (n_i / cap) Δ_i}, float64; Σ Δ_i for tensors without a weight.
        weights: {weight: Σ n_i}.
        exacts: {lane: Σ}, int64.
        sites: how many contributed.
        layout: of the words.
    """

    sums: dict[str, FloatArray] = field(repr=False)
    weights: dict[str, int]
    exacts: dict[str, IntArray] = field(repr=False)
    sites: int
    layout: Layout = field(repr=False)

    def mean(self, name: str) -> FloatArray | None:
        """Return the weighted mean of a tensor; None when no site gave it any weight.

        For a tensor without a weight this is the mean over the contributors.
        """
        real = next(real for real in self.layout.reals if real.name == name)
        if not real.weight:
            return self.sums[name] / self.sites
        total = self.weights[real.weight]
        return self.sums[name] * (self.layout.cap(real.weight) / total) if total else None


def encode(
    layout: Layout,
    reals: Mapping[str, ArrayLike],
    weights: Mapping[str, int],
    exacts: Mapping[str, ArrayLike],
    entropy: Callable[[int], bytes],
) -> Words:
    """Return the words of one site: `[w·Δ rounded to the grid | w | exact lanes]`.

    Args:
        layout: public meaning of the words.
        reals: {tensor: values Δ}; multiplied here by w = n / cap.
        weights: {weight: count n}, 0 to the weight's cap. A tensor whose weight is 0 is
            not read and may be left out.
        exacts: {lane: integers}.
        entropy: returns random bytes; 32 key the rounding.

    Raises:
        DataError: a tensor or lane missing, of another shape, not finite or above its scale.
        PrivacyError: a weight above its cap.

    Guarantees: the expectation of each field is the value itself, to within 2^-32 of a step.
    """
    counts = _weights(layout, weights)
    fields = _room(layout)
    secret = entropy(32)
    for number, (real, part) in enumerate(_parts(layout.reals, fields)):
        w = counts[real.weight] / layout.cap(real.weight)
        if w:
            values = _of_shape(real.name, real.shape, reals).reshape(-1)
            noise = Stream(derive(secret, "rounding", number))
            _round(values, w / layout.grid(real), noise, part, layout.limit, real.name)
    return _assemble(layout, fields, counts, exacts)


def encode_grid(
    layout: Layout,
    grids: Mapping[str, ArrayLike],
    weights: Mapping[str, int],
    exacts: Mapping[str, ArrayLike],
) -> Words:
    """Return the words of values that are already integers on the grid of each tensor.

    Args:
        layout: public meaning of the words.
        grids: {tensor: integers in units of layout.grid}; a weight is not multiplied in.
        weights: {weight: count n}, 0 to the weight's cap.
        exacts: {lane: integers}.

    Raises:
        DataError: a tensor missing, of another shape, not of integers, or above the limit.
        PrivacyError: a weight above its cap.
    """
    counts = _weights(layout, weights)
    fields = _room(layout)
    for real, part in _parts(layout.reals, fields):
        part[:] = _integers(real.name, real.shape, grids, layout.limit)
    return _assemble(layout, fields, counts, exacts)


def decode(layout: Layout, words_W: Words, sites: int) -> Decoded:
    """Return what the sum of `sites` vectors says.

    Args:
        layout: public meaning of the words.
        words_W: the sum mod 2^64.
        sites: number of contributors, 1 to layout.sites.

    Raises:
        ProtocolError: the sum cannot come from that many valid vectors.
    """
    if words_W.shape != (layout.words,) or not 1 <= sites <= layout.sites:
        raise ProtocolError(f"expected {layout.words} words of 1 to {layout.sites} sites")
    fields = _unpack(layout, words_W[: layout.packed_words])
    if fields.size and max(int(fields.max()), -int(fields.min())) > sites * layout.limit:
        raise ProtocolError("a field of the sum is larger than its contributors can make it")
    rest = words_W[layout.packed_words :].view(np.int64)
    weights = {w.name: int(rest[i]) for i, w in enumerate(layout.weights)}
    for weight in layout.weights:
        if not 0 <= weights[weight.name] <= sites * weight.cap:
            raise ProtocolError(f"the sum of {weight.name} is beyond what its sites can send")
    sums = {
        real.name: np.multiply(part, layout.grid(real), dtype=np.float64).reshape(real.shape)
        for real, part in _parts(layout.reals, fields)
    }
    lanes = _parts(layout.exacts, rest[len(layout.weights) :])
    exacts = {lane.name: part.reshape(lane.shape).copy() for lane, part in lanes}
    return Decoded(sums, weights, exacts, sites, layout)


def _parts(
    items: Sequence[Item], flat_N: NDArray[Number]
) -> Iterator[tuple[Item, NDArray[Number]]]:
    """Yield each item with its stretch of a flat array."""
    start = 0
    for item in items:
        yield item, flat_N[start : start + item.size]
        start += item.size


def _weights(layout: Layout, weights: Mapping[str, int]) -> dict[str, int]:
    """Return the counts by weight, and 1 for tensors without a weight."""
    counts = {"": 1}
    for weight in layout.weights:
        if weight.name not in weights:
            raise DataError(f"the weight {weight.name!r} is missing")
        count = int(weights[weight.name])
        if not 0 <= count <= weight.cap:
            raise PrivacyError(
                f"the weight {weight.name!r} is outside 0 to {weight.cap}: send less, or agree "
                "on a higher cap in the policy"
            )
        counts[weight.name] = count
    return counts


def _of_shape(
    name: str, shape: tuple[int, ...], given: Mapping[str, ArrayLike]
) -> NDArray[np.generic]:
    """Return what was given for a name; raises DataError when it is missing or misshapen."""
    if name not in given:
        raise DataError(f"{name!r} is missing")
    values = np.asarray(given[name])
    if values.shape != shape:
        raise DataError(f"{name}: expected shape {shape}, got {values.shape}")
    return values


def _integers(
    name: str, shape: tuple[int, ...], given: Mapping[str, ArrayLike], most: int
) -> IntArray:
    """Return integers of at most `most` in absolute value, flat; raises DataError otherwise."""
    values = _of_shape(name, shape, given).reshape(-1)
    if values.dtype.kind not in "iub":
        raise DataError(f"{name}: expected integers, got {values.dtype}")
    if values.size and (int(values.max()) > most or int(values.min()) < -most):
        raise DataError(f"{name}: a value is beyond ±{most}, the most that one site may send")
    return values.astype(np.int64)


def _round(
    values_N: NDArray[np.generic],
    factor: float,
    noise: Stream,
    out_N: FieldArray,
    limit: int,
    name: str,
) -> None:
    """Write floor(values · factor + u), u uniform in [0, 1); raise DataError beyond ±limit."""
    if values_N.dtype.kind not in "fiub":
        raise DataError(f"{name}: expected real numbers, got {values_N.dtype}")
    scaled, uniform = np.empty((2, CHUNK), np.float64)
    for start in range(0, values_N.size, CHUNK):
        chunk = values_N[start : start + CHUNK]
        x, u = scaled[: chunk.size], uniform[: chunk.size]
        np.multiply(chunk, factor, out=x, dtype=np.float64)
        if not (x.max() <= limit and x.min() >= -limit):
            _clip_rounding(x, limit, name)
        np.multiply(noise.take(4 * chunk.size).view("<u4"), 2.0**-32, out=u, dtype=np.float64)
        np.add(x, u, out=x)
        np.floor(x, out=x)
        if limit > EXACT_LIMIT:
            np.minimum(x, limit, out=x)
        out_N[start : start + CHUNK] = x


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


def _room(layout: Layout) -> FieldArray:
    """Return zeros for every field, those that fill up the last words included."""
    return np.zeros(layout.packed_words * layout.fields_a_word, np.int32)


def _assemble(
    layout: Layout, fields: FieldArray, counts: Mapping[str, int], exacts: Mapping[str, ArrayLike]
) -> Words:
    """Return fields packed planar (word i holds fields i, i + m, i + 2m), weights and lanes."""
    words = np.empty(layout.words, np.int64)
    m = layout.packed_words
    planes = fields.reshape(layout.fields_a_word, m)
    for start in range(0, m, CHUNK):
        packed = words[start : min(start + CHUNK, m)]
        packed[:] = planes[0, start : start + CHUNK]
        for j in range(1, layout.fields_a_word):
            plane = planes[j, start : start + CHUNK].astype(np.int64)
            np.left_shift(plane, j * layout.field_bits, out=plane)
            np.add(packed, plane, out=packed)
    rest = words[m:]
    rest[: len(layout.weights)] = [counts[weight.name] for weight in layout.weights]
    for lane, part in _parts(layout.exacts, rest[len(layout.weights) :]):
        part[:] = _integers(lane.name, lane.shape, exacts, lane.cap)
    return words.view(np.uint64)


def _unpack(layout: Layout, packed_W: Words) -> FieldArray:
    """Return the signed fields of a sum."""
    bits, m = layout.field_bits, layout.packed_words
    half, low = np.int64(1 << bits - 1), np.int64((1 << bits) - 1)
    planes = np.empty((layout.fields_a_word, m), np.int32)
    for start in range(0, m, CHUNK):
        left = packed_W[start : start + CHUNK].view(np.int64).copy()
        for plane in planes[:, start : start + CHUNK]:
            field = ((left + half) & low) - half
            plane[:] = field
            left -= field
            left >>= bits
    return planes.reshape(-1)[: layout.fields]
