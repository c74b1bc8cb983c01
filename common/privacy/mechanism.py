"""Noise and sampling from a cryptographic stream that no seed reaches.

The key is an argument: a site draws it from the operating system for every use, a test
injects a fixed one. Never derive it from a study's seed.
"""

import os
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from common.errors import PrivacyError

KEY_BYTES = 32
GRID_LOG2 = 20
"""A noised sum lies on a grid of σC·2^-20."""
_ZEROS = bytes(1 << 18)
_PAIRS = 1 << 14


class CryptoStream:
    """Random numbers from AES-256 in counter mode.

    Args:
        key: 32 bytes from the operating system, used for one stream only.

    Guarantees: two streams of different keys are independent as far as AES is; a stream
    cannot be copied, pickled or used on both sides of a fork, so no noise is drawn twice.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise PrivacyError(f"noise key: expected {KEY_BYTES} bytes, found {len(key)}")
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
        self._process = os.getpid()

    def __reduce__(self) -> NoReturn:
        raise PrivacyError("a noise stream cannot be copied or pickled: noise would repeat")

    def words(self, size: int) -> npt.NDArray[np.uint64]:
        """Return `size` uniform 64-bit words."""
        if os.getpid() != self._process:
            raise PrivacyError("a noise stream cannot cross a fork: open a new one in the child")
        out = np.empty(size, dtype=np.uint64)
        view = out.data.cast("B")
        for start in range(0, len(view), len(_ZEROS)):
            piece = view[start : start + len(_ZEROS)]
            self._cipher.update_into(_ZEROS[: len(piece)], piece)
        return out

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

    def gaussian(self, size: int, sigma: float = 1.0) -> npt.NDArray[np.float32]:
        """Return `size` normal values in single precision.

        Guarantees: the radius comes from 63 bits, so that the tail reaches 9.3 σ.
        Source: Box and Muller, 1958.
        """
        out = np.empty(size + size % 2, dtype=np.float32)
        for start in range(0, len(out), 2 * _PAIRS):
            self._box_muller(out[start : start + 2 * _PAIRS], np.float32(sigma))
        return out[:size]

    def _box_muller(self, out: npt.NDArray[np.float32], sigma: np.float32) -> None:
        pairs = len(out) // 2
        words = self.words(pairs + (pairs + 1) // 2)
        radius = (words[:pairs] >> np.uint64(1)).view(np.int64).astype(np.float32)
        radius += np.float32(0.5)
        radius *= np.float32(2.0**-63)
        np.log(radius, out=radius)
        radius *= np.float32(-2.0) * sigma * sigma
        np.sqrt(radius, out=radius)
        angle = words[pairs:].view(np.int32)[:pairs].astype(np.float32)
        angle *= np.float32(np.pi * 2.0**-31)
        np.multiply(np.cos(angle), radius, out=out[:pairs])
        np.multiply(np.sin(angle), radius, out=out[pairs:])


def noise_deviation(noise_multiplier: float, max_grad_norm: float, parameters: int) -> float:
    """Return the standard deviation of the noise on a sum: σ times the sensitivity on the grid.

    Bringing the sum to the grid can stretch a difference of two sums by one grid unit in
    each value, hence by grid · √parameters in all.
    """
    grid = noise_multiplier * max_grad_norm * 2.0**-GRID_LOG2
    return noise_multiplier * (max_grad_norm + grid * float(np.sqrt(parameters)))


def add_noise(
    stream: CryptoStream,
    clipped_sum: dict[str, torch.Tensor],
    *,
    noise_multiplier: float,
    max_grad_norm: float,
) -> dict[str, torch.Tensor]:
    """Add Gaussian noise to a clipped sum, as integers on the grid σC·2^-20.

    Args:
        stream: where the noise comes from.
        clipped_sum: the sum of vectors clipped together to max_grad_norm, by parameter name.
        noise_multiplier: σ > 0, in units of max_grad_norm.
        max_grad_norm: C > 0.

    Returns: float32 tensors on the device of the sum.

    Raises:
        PrivacyError: σ or C is not positive, or the sum holds values that are not finite.

    Guarantees: the result is a whole number of grid units in every value, whatever the data,
    so its low bits tell nothing; at least as private as a Gaussian of σ and sensitivity 1.
    """
    if not (noise_multiplier > 0 and max_grad_norm > 0):
        raise PrivacyError(
            "noise: expected σ > 0 and a clipping norm > 0, "
            f"found {noise_multiplier}, {max_grad_norm}"
        )
    parameters = sum(tensor.numel() for tensor in clipped_sum.values())
    sigma = noise_deviation(noise_multiplier, max_grad_norm, parameters)
    grid = noise_multiplier * max_grad_norm * 2.0**-GRID_LOG2
    return {name: _noised(stream, tensor, sigma, grid) for name, tensor in clipped_sum.items()}


def _noised(stream: CryptoStream, tensor: torch.Tensor, sigma: float, grid: float) -> torch.Tensor:
    values = tensor.detach().to("cpu", torch.float64).contiguous().numpy().reshape(-1)
    if not np.isfinite(values.sum()):
        raise PrivacyError("noise: the clipped sum holds values that are not finite")
    out = np.empty(len(values), dtype=np.float32)
    for start in range(0, len(values), 2 * _PAIRS):
        piece = values[start : start + 2 * _PAIRS] * (1 / grid)
        np.rint(piece, out=piece)
        piece += np.rint(stream.gaussian(len(piece), sigma / grid))
        np.multiply(piece, grid, out=out[start : start + len(piece)], casting="same_kind")
    return torch.from_numpy(out).reshape(tensor.shape).to(tensor.device)
