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
from common.secagg import packing
from common.secagg.derive import derive
from common.secagg.layout import Exact, Layout, Real
from common.secagg.masks import Stream, Words
from common.secagg.memory import empty
from common.secagg.packing import IntArray, Scaled

FloatArray = NDArray[np.float64]
Item = TypeVar("Item", Real, Exact)
Number = TypeVar("Number", np.float64, np.int64)


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

    Guarantees: the expectation of each field is the value itself, to within 2^-21 of a step.
    """
    counts = _weights(layout, weights)
    words = empty(layout.words, np.uint64)
    tensors = [_scaled(layout, real, counts[real.weight], reals) for real in layout.reals]
    noise = Stream(derive(entropy(32), "rounding"))
    packing.round_into(words[: layout.packed_words], layout, tensors, noise)
    return _finish(layout, words, counts, exacts)


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
    words = empty(layout.words, np.uint64)
    tensors = [_integers(real.name, real.shape, grids, layout.limit) for real in layout.reals]
    packing.pack_into(words[: layout.packed_words], layout, tensors)
    return _finish(layout, words, counts, exacts)


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
    fields = packing.unpack(words_W[: layout.packed_words], layout, sites)
    rest = words_W[layout.packed_words :].view(np.int64)
    weights = {w.name: int(rest[i]) for i, w in enumerate(layout.weights)}
    for weight in layout.weights:
        if not 0 <= weights[weight.name] <= sites * weight.cap:
            raise ProtocolError(f"the sum of {weight.name} is beyond what its sites can send")
    sums = {real.name: part.reshape(real.shape) for real, part in _parts(layout.reals, fields)}
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


def _scaled(layout: Layout, real: Real, count: int, given: Mapping[str, ArrayLike]) -> Scaled:
    """Return a tensor's values and their factor; zeros, and nothing read, for a weight of 0."""
    if not count:
        return Scaled(real.name, None, 1.0)
    values = _of_shape(real.name, real.shape, given).reshape(-1)
    if values.dtype.kind not in "fiub":
        raise DataError(f"{real.name}: expected real numbers, got {values.dtype}")
    w = count / layout.cap(real.weight)
    return Scaled(real.name, values, w / layout.grid(real))


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


def _finish(
    layout: Layout,
    words_W: Words,
    counts: Mapping[str, int],
    exacts: Mapping[str, ArrayLike],
) -> Words:
    """Write weights and exact lanes behind the packed fields, and return the words."""
    rest = words_W[layout.packed_words :].view(np.int64)
    rest[: len(layout.weights)] = [counts[weight.name] for weight in layout.weights]
    for lane, part in _parts(layout.exacts, rest[len(layout.weights) :]):
        part[:] = _integers(lane.name, lane.shape, exacts, lane.cap)
    return words_W
