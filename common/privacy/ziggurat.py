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

import numpy as np
import numpy.typing as npt

from common.compiled import compiled

Words64 = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Words = Callable[[int], Words64]

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
    is_beyond = np.empty(min(PIECE, len(out)), np.bool_)
    for start in range(0, len(out), PIECE):
        piece = out[start : start + PIECE]
        drawn = words(len(piece))
        draw(drawn, _STEPS, _INNER, piece, is_beyond)
        beyond = np.flatnonzero(is_beyond[: len(piece)])
        layers = (drawn[beyond] & np.uint64(LAYERS - 1)).astype(np.int64)
        done, left = 0, np.empty(0, np.uint64)
        while done < len(beyond):
            left = np.concatenate([left, words(8 + 4 * (len(beyond) - done))])
            tables = _STEPS, _INNER, _HEIGHTS
            made, used = settle(left, *tables, beyond[done:], layers[done:], piece)
            done, left = done + made, left[used:]


@compiled
def draw(
    words: Words64, steps: Values, inner: Values, out: Values, is_beyond: npt.NDArray[np.bool_]
) -> None:
    """Place a value in a layer for each word.

    Args:
        words: one for each value.
        steps: of the layers, what one unit of a word's upper bits is worth.
        inner: of the layers, how far they lie under the curve over their whole height.
        out: takes the values.
        is_beyond: takes whether a value lies beyond the inner part, so that the curve has its say.
    """
    for n in range(words.size):
        word = np.int64(words[n])
        layer = word & (LAYERS - 1)
        value = np.float64(word >> LAYERS_LOG2) * steps[layer]
        out[n] = value
        is_beyond[n] = abs(value) >= inner[layer]


@compiled
def settle(
    words: Words64,
    steps: Values,
    inner: Values,
    heights: Values,
    beyond: Places,
    layers: Places,
    out: Values,
) -> tuple[int, int]:
    """Keep values that lie under the curve, and make others in place of the rest.

    Args:
        words: two for every try. The first that was not used goes before all others in the next
            call: the value that found no words any more is begun anew with the same ones.
        steps: as for `draw`.
        inner: as for `draw`.
        heights: of the curve where the layers end, from the lowest on.
        beyond: which values, in order.
        layers: of these.
        out: holds the values.

    Returns: how many values are settled, and how many words were used for them.

    Source: for the tail, Marsaglia 1964, "Generating a variable from the tail of the normal
    distribution", by rejection from an exponential.
    """
    at = used = 0
    for k in range(beyond.size):
        value, layer, is_made = out[beyond[k]], layers[k], False
        while not is_made and at + 2 <= words.size:
            uniform = (np.float64(words[at]) + 0.5) * 2.0**-64  # above 0, and as fine as 2^-64
            if layer == 0:
                depth = -math.log(uniform) / EDGE
                room = -2 * math.log((np.float64(words[at + 1]) + 0.5) * 2.0**-64)
                value, is_made = math.copysign(EDGE + depth, value), room >= depth * depth
            else:
                height = heights[layer] + uniform * (heights[layer + 1] - heights[layer])
                is_made = height < math.exp(-0.5 * value * value)
                if not is_made:
                    word = np.int64(words[at + 1])
                    layer = word & (LAYERS - 1)
                    value = np.float64(word >> LAYERS_LOG2) * steps[layer]
                    is_made = abs(value) < inner[layer]
            at += 2
        if not is_made:
            return k, used
        out[beyond[k]] = value
        used = at
    return beyond.size, used
