"""Noise and sampling from a cryptographic stream that no seed reaches.

The key is an argument: a site draws it from the operating system for every use, a test
injects a fixed one. Never derive it from a study's seed.
"""

import math
import os
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import torch

from common.compiled import compiled
from common.errors import PrivacyError
from common.privacy.ziggurat import fill_normal
from common.secagg.masks import TAG_BYTES, Stream

KEY_BYTES = 32
GRID_LOG2 = 20
"""A noised sum lies on a grid of the power of two just below σC·2^-20, or that itself."""
_PIECE = 1 << 15
"""Values of a sum that are noised at once."""
Values = npt.NDArray[Any]
Pair = tuple[Values, Values]
"""A sum, and where it goes with noise: the same place for single precision."""


class CryptoStream:
    """Random numbers from AES-256 in counter mode: the stream of masks, each draw a new segment.

    Args:
        key: 32 bytes from the operating system, used for one stream only.

    Guarantees: two streams of different keys are independent as far as AES is; a stream
    cannot be copied, pickled or used on both sides of a fork, so no noise is drawn twice.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise PrivacyError(f"noise key: expected {KEY_BYTES} bytes, found {len(key)}")
        self._stream = Stream(key)
        self._process = os.getpid()

    def __reduce__(self) -> NoReturn:
        raise PrivacyError("a noise stream cannot be copied or pickled: noise would repeat")

    def words(self, size: int) -> npt.NDArray[np.uint64]:
        """Return `size` uniform 64-bit words."""
        if os.getpid() != self._process:
            raise PrivacyError("a noise stream cannot cross a fork: open a new one in the child")
        out = np.empty(size + TAG_BYTES // 8, np.uint64)
        self._stream.fill(out.view(np.uint8))
        return out[:size]

    def uniform(self, size: int) -> npt.NDArray[np.float64]:
        """Return `size` numbers uniform on [0, 1) with 53 bits."""
        return (self.words(size) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def poisson_mask(self, size: int, rate: float) -> npt.NDArray[np.bool_]:
        """Draw which of `size` units join a step, each by itself with probability `rate`.

        Raises:
            PrivacyError: the rate is not in [0, 1].
        """
        if not 0 <= rate <= 1:
            raise PrivacyError(f"sampling rate: expected 0 to 1, found {rate}")
        if rate == 1:
            return np.ones(size, dtype=np.bool_)
        return self.words(size) < np.uint64(int(rate * 2.0**64))

    def choose(self, size: int, most: int) -> npt.NDArray[np.int64]:
        """Choose min(size, most) different positions below `size`, every subset equally likely."""
        return np.sort(np.argsort(self.words(size), kind="stable")[:most])

    def gaussian(self, size: int, sigma: float = 1.0) -> npt.NDArray[np.float64]:
        """Return `size` normal values.

        Guarantees: neighbouring values that can be drawn lie at most σ·2^-50 apart, beyond 4 σ and
        up to 9 σ at most σ·2^-36: a unit of a noised sum's grid holds thousands, so that which
        units are met says nothing.
        """
        out = np.empty(size)
        fill_normal(self.words, out)
        out *= sigma
        return out


def noise_deviation(noise_multiplier: float, max_grad_norm: float, parameters: int) -> float:
    """Return the standard deviation of the noise on a sum: σ times the sensitivity on the grid.

    Bringing the sum to the grid can stretch a difference of two sums by one grid unit in
    each value, hence by grid · √parameters in all.
    """
    grid = grid_unit(noise_multiplier, max_grad_norm)
    return noise_multiplier * (max_grad_norm + grid * math.sqrt(parameters))


def grid_unit(noise_multiplier: float, max_grad_norm: float) -> float:
    """Return the grid's unit, a power of two: bringing single precision to it costs no bit."""
    _, exponent = math.frexp(noise_multiplier * max_grad_norm * 2.0**-GRID_LOG2)
    return math.ldexp(1.0, exponent - 1)


def add_noise(
    stream: CryptoStream,
    clipped_sum: dict[str, torch.Tensor],
    *,
    noise_multiplier: float,
    max_grad_norm: float,
    divisor: float = 1.0,
) -> dict[str, torch.Tensor]:
    """Add Gaussian noise to a clipped sum, as integers on a grid.

    Args:
        stream: where the noise comes from.
        clipped_sum: the sum of vectors clipped together to max_grad_norm, by parameter name.
            It is used up: the result takes the place of what is in single precision.
        noise_multiplier: σ > 0, in units of max_grad_norm.
        max_grad_norm: C > 0.
        divisor: a public number by which the noisy sum is divided, once it is whole grid units.

    Returns: float32 tensors on the device of the sum.

    Raises:
        PrivacyError: σ, C or the divisor is not positive, or the sum is not of floating-point
            numbers, or not finite in single precision.

    Guarantees: the result is a whole number of grid units in every value, whatever the data, and
    the division sees nothing else, so its low bits tell nothing; at least as private as a
    Gaussian of σ and sensitivity 1.
    """
    if not (noise_multiplier > 0 and max_grad_norm > 0 and divisor > 0):
        raise PrivacyError(
            "noise: expected σ > 0, a clipping norm > 0 and a divisor > 0, "
            f"found {noise_multiplier}, {max_grad_norm}, {divisor}"
        )
    parameters = sum(tensor.numel() for tensor in clipped_sum.values())
    sigma = noise_deviation(noise_multiplier, max_grad_norm, parameters)
    grid = grid_unit(noise_multiplier, max_grad_norm)
    sums = {name: _wide(name, tensor.detach()).cpu() for name, tensor in clipped_sum.items()}
    found = {
        name: tensor
        if tensor.dtype == torch.float32
        else torch.empty_like(tensor, dtype=torch.float32)
        for name, tensor in sums.items()
    }
    for dtype in (torch.float32, torch.float64):
        chosen = [name for name, tensor in sums.items() if tensor.dtype == dtype]
        pairs = [
            (sums[name].numpy().reshape(-1), found[name].numpy().reshape(-1)) for name in chosen
        ]
        _noised(stream, pairs, sigma, grid, divisor)
    return {name: tensor.to(clipped_sum[name].device) for name, tensor in found.items()}


def _wide(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a sum in single or double precision, which shorter ones fit into."""
    if not tensor.is_floating_point():
        raise PrivacyError(f"noise: expected floating-point sums, found {tensor.dtype} at {name!r}")
    is_short = tensor.dtype.itemsize < torch.float32.itemsize
    return (tensor.float() if is_short else tensor).contiguous()


def _noised(
    stream: CryptoStream, pairs: list[Pair], sigma: float, grid: float, divisor: float
) -> None:
    """Fill each pair's second array with its first and noise, a piece at a time."""
    room = np.empty(_PIECE, np.float32)
    for run in _runs(pairs, _PIECE):
        noise = stream.gaussian(sum(len(values) for _, values, _ in run))
        for place, values, out in run:
            one, noised = values.dtype.type, room[: len(values)]
            drawn = noise[place : place + len(values)]
            if not put(values, drawn, one(1 / grid), sigma / grid, grid / divisor, noised):
                raise PrivacyError("noise: the clipped sum holds values that are not finite")
            np.copyto(out, noised)


@compiled
def put(values: Values, noise: Values, per_grid: Any, sigma: float, grid: Any, out: Values) -> bool:
    """Write values and noise, each as a whole number of grid units, in one sum.

    They are added in double precision, where whole numbers up to 2^53 are exact; what the sum loses
    when it is written in single precision is lost after the noise.

    Args:
        values: of a clipped sum.
        noise: normal values of variance 1.
        per_grid: 1 / grid, of the type of the values.
        sigma: deviation of the noise, in grid units.
        grid: what a unit is worth in the end.
        out: takes the noised sum; six times as slow where it is the place of the values.

    Returns: whether all of it is finite.
    """
    finite = 0
    for n in range(values.size):
        units = np.float64(np.rint(values[n] * per_grid)) + np.rint(noise[n] * sigma)
        out[n] = units * grid
        finite += np.isfinite(out[n])
    return finite == values.size


def _runs(pairs: list[Pair], most: int) -> Iterator[list[tuple[int, Values, Values]]]:
    """Cut the pairs into runs of `most` values; each cut stands with its place in the run."""
    run: list[tuple[int, Values, Values]] = []
    filled = 0
    for values, out in pairs:
        start = 0
        while start < len(values):
            end = min(start + most - filled, len(values))
            run.append((filled, values[start:end], out[start:end]))
            start, filled = end, filled + end - start
            if filled == most:
                yield run
                run, filled = [], 0
    if run:
        yield run
