"""Normal values from uniform words: the ziggurat method, in double precision.

The area under exp(-x²/2) is covered by layers of one area. A value is drawn evenly in a layer
drawn evenly; nearly always it lies where the layer is under the curve over its whole height. The
few others are held to the curve, and drawn again when above it.

Source: Marsaglia and Tsang 2000, "The ziggurat method for generating random variables"; Doornik
2005, "An improved ziggurat method to generate normal random samples", whose point is kept: the
bits that choose the layer are not those of the value.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Words = Callable[[int], npt.NDArray[np.uint64]]
Values = npt.NDArray[Any]

LAYERS_LOG2 = 10
LAYERS = 1 << LAYERS_LOG2
EDGE = 4.0388498461095045
"""Where the lowest layer ends and the tail begins: what makes 1024 layers of one area fit."""
PIECE = 1 << 15
"""Values made at once: what they take stays in a core's cache."""


def layers() -> tuple[Values, Values]:
    """Return the widths x_0 ≥ x_1 ≥ … ≥ x_1024 = 0 of the layers, and the curve's height there.

    Layer i reaches from height f(x_i) to f(x_{i+1}) and from 0 to x_i on either side. The lowest
    holds the tail beyond x_1 as well: x_0 is as wide as makes its area that of the others.
    """
    tail = math.sqrt(math.pi / 2) * math.erfc(EDGE / math.sqrt(2))
    area = EDGE * _curve(EDGE) + tail
    widths = [area / _curve(EDGE), EDGE]
    while len(widths) < LAYERS:
        height = area / widths[-1] + _curve(widths[-1])
        widths.append(math.sqrt(-2 * math.log(height)))
    found = np.array([*widths, 0.0])
    return found, np.exp(-0.5 * found**2)


def _curve(x: float) -> float:
    return math.exp(-0.5 * x * x)


_WIDTHS, _HEIGHTS = layers()
_STEPS = _WIDTHS[:-1] * 2.0 ** (LAYERS_LOG2 - 63)
"""What one unit of a word's upper 54 bits is worth in a layer."""
_INNER = _WIDTHS[1:].copy()


def fill_normal(words: Words, out: Values) -> None:
    """Fill an array with normal values of mean 0 and variance 1.

    Args:
        words: returns so many uniform 64-bit words, never the same ones twice.
        out: of doubles.

    Guarantees: in a layer the values that can be drawn lie evenly, at most 2^-50 apart; in the
    tail, up to 9, at most 2^-36.
    """
    most = min(PIECE, len(out))
    room_P, sizes_P = np.empty(most, np.int64), np.empty(most)
    beyond, layer = [], []
    for start in range(0, len(out), PIECE):
        piece = out[start : start + PIECE]
        where, which = _draw(words, piece, room_P[: len(piece)], sizes_P[: len(piece)])
        beyond.append(where + start)
        layer.append(which)
    if any(map(len, beyond)):
        places = np.concatenate(beyond)
        out[places] = _held_to_the_curve(words, out[places], np.concatenate(layer))


def _draw(words: Words, out: Values, layer: Values, sizes: Values) -> tuple[Values, Values]:
    """Draw in layers; return where values lie beyond the inner part of theirs, and which it is."""
    drawn = words(len(out)).view(np.int64)
    np.bitwise_and(drawn, LAYERS - 1, out=layer)
    drawn >>= LAYERS_LOG2
    np.copyto(out, drawn)
    out *= np.take(_STEPS, layer, out=sizes, mode="wrap")
    np.abs(out, out=sizes)
    inner = np.take(_INNER, layer, out=drawn.view(np.float64), mode="wrap")
    beyond = np.flatnonzero(sizes >= inner)
    return beyond, layer[beyond]


def _held_to_the_curve(words: Words, values: Values, layer: Values) -> Values:
    """Return values that lie beyond their layer's inner part, or others in their place."""
    low, high = _HEIGHTS[layer], _HEIGHTS[layer + 1]
    heights = low + _uniform(words, len(layer)) * (high - low)
    above = np.flatnonzero((heights >= np.exp(-0.5 * values**2)) & (layer > 0))
    again = np.empty(len(above))
    fill_normal(words, again)
    values[above] = again
    tail = np.flatnonzero(layer == 0)
    if len(tail):
        values[tail] = np.copysign(_tail(words, len(tail)), values[tail])
    return values


def _tail(words: Words, size: int) -> Values:
    """Return `size` values beyond the edge, by rejection from an exponential.

    Source: Marsaglia 1964, "Generating a variable from the tail of the normal distribution".
    """
    found = np.empty(0)
    while len(found) < size:
        beyond = -np.log(_uniform(words, size)) / EDGE
        room = -2 * np.log(_uniform(words, size))
        found = np.append(found, EDGE + beyond[room >= beyond**2])
    return found[:size]


def _uniform(words: Words, size: int) -> Values:
    """Return numbers above 0 and at most 1, the small ones as fine as 2^-64."""
    return (words(size) + 0.5) * 2.0**-64
