"""Masks: the AES-256 stream, added to a vector of 64-bit words mod 2^64.

The stream of a key is AES-256-GCM over zeros in segments of 256 KiB, the nonce being the
number of the segment: that is AES-CTR from `nonce || 00000002`, through the fastest path
that OpenSSL has. A key is used for one vector only.
"""

from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

SEGMENT_BYTES = 1 << 18
SEGMENT_WORDS = SEGMENT_BYTES // 8
TAG_BYTES = 16
NONCE_BYTES = 12
_ZEROS = memoryview(bytes(SEGMENT_BYTES))

Words = NDArray[np.uint64]


def stream(key: bytes, size_bytes: int) -> NDArray[np.uint8]:
    """Return the first `size_bytes` bytes of the stream of a 32-byte key."""
    cipher = AESGCM(key)
    out = np.empty(size_bytes + TAG_BYTES, np.uint8)
    for segment, start in enumerate(range(0, size_bytes, SEGMENT_BYTES)):
        size = min(SEGMENT_BYTES, size_bytes - start)
        _fill(cipher, segment, out[start : start + size + TAG_BYTES])
    return out[:size_bytes]


class Stream:
    """The stream of a 32-byte key, taken piece by piece; each piece starts a new segment."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._segment = 0
        self._room = np.empty(SEGMENT_BYTES + TAG_BYTES, np.uint8)

    def take(self, size_bytes: int) -> NDArray[np.uint8]:
        """Return `size_bytes` bytes, at most a segment; they hold until the next call."""
        out = self._room[: size_bytes + TAG_BYTES]
        _fill(self._cipher, self._segment, out)
        self._segment += 1
        return out[:size_bytes]


def _fill(cipher: AESGCM, segment: int, out: NDArray[np.uint8]) -> None:
    """Write one segment of a stream into `out`, whose last 16 bytes take the tag."""
    zeros = _ZEROS[: out.size - TAG_BYTES]
    cipher.encrypt_into(segment.to_bytes(NONCE_BYTES, "big"), zeros, None, out.data)


def apply(words_W: Words, plus: Sequence[bytes], minus: Sequence[bytes]) -> None:
    """Add the masks of the keys `plus` and take off those of `minus`, in place, mod 2^64.

    Chunks are the outer loop, so that the part of the sum being worked on stays in cache.

    Args:
        words_W: little-endian 64-bit words; changed in place.
        plus: 32-byte keys whose stream is added.
        minus: 32-byte keys whose stream is subtracted.
    """
    steps: list[tuple[AESGCM, np.ufunc]] = [(AESGCM(key), np.add) for key in plus]
    steps += [(AESGCM(key), np.subtract) for key in minus]
    room = np.empty(SEGMENT_BYTES + TAG_BYTES, np.uint8)
    for segment, start in enumerate(range(0, words_W.size, SEGMENT_WORDS)):
        chunk = words_W[start : start + SEGMENT_WORDS]
        mask = room[: chunk.nbytes].view(np.uint64)
        zeros, out = _ZEROS[: chunk.nbytes], room[: chunk.nbytes + TAG_BYTES].data
        nonce = segment.to_bytes(NONCE_BYTES, "big")
        for cipher, step in steps:
            cipher.encrypt_into(nonce, zeros, None, out)
            step(chunk, mask, out=chunk)


def add_up(vectors: Sequence[Words]) -> Words:
    """Return the sum of vectors of one length mod 2^64, chunk by chunk."""
    total = np.empty(vectors[0].size, np.uint64)
    for start in range(0, total.size, SEGMENT_WORDS):
        chunk = total[start : start + SEGMENT_WORDS]
        np.copyto(chunk, vectors[0][start : start + SEGMENT_WORDS])
        for vector in vectors[1:]:
            np.add(chunk, vector[start : start + SEGMENT_WORDS], out=chunk)
    return total


def checksum(key: bytes, words_W: Words) -> int:
    """Return Σ r_i x_i mod 2^64, the r_i being odd words of the stream of a public key.

    Guarantees: linear in the words; changing any one word changes it. Changes d_i that do not
    depend on the key go unseen with probability at most 2^-(63-v), where 2^v is the largest
    power of two that divides all d_i: 2^-63 unless all are even.
    """
    cipher, total = AESGCM(key), 0
    room = np.empty(SEGMENT_BYTES + TAG_BYTES, np.uint8)
    for segment, start in enumerate(range(0, words_W.size, SEGMENT_WORDS)):
        chunk = words_W[start : start + SEGMENT_WORDS]
        out = room[: chunk.size * 8 + TAG_BYTES]
        _fill(cipher, segment, out)
        odd = out[: chunk.size * 8].view(np.uint64)
        np.bitwise_or(odd, np.uint64(1), out=odd)
        np.multiply(odd, chunk, out=odd)
        total += int(odd.sum(dtype=np.uint64))
    return total % (1 << 64)
