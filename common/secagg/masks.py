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
_ZEROS = bytes(SEGMENT_BYTES)

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
    zeros = _ZEROS if out.size == SEGMENT_BYTES + TAG_BYTES else _ZEROS[: out.size - TAG_BYTES]
    cipher.encrypt_into(segment.to_bytes(12, "big"), zeros, None, out.data)


def apply(words_W: Words, plus: Sequence[bytes], minus: Sequence[bytes]) -> None:
    """Add the masks of the keys `plus` and take off those of `minus`, in place, mod 2^64.

    Chunks are the outer loop, so that the part of the sum being worked on stays in cache.

    Args:
        words_W: little-endian 64-bit words; changed in place.
        plus: 32-byte keys whose stream is added.
        minus: 32-byte keys whose stream is subtracted.
    """
    adding = [AESGCM(key) for key in plus]
    taking = [AESGCM(key) for key in minus]
    room = np.empty(SEGMENT_BYTES + TAG_BYTES, np.uint8)
    for segment, start in enumerate(range(0, words_W.size, SEGMENT_WORDS)):
        chunk = words_W[start : start + SEGMENT_WORDS]
        out = room[: chunk.size * 8 + TAG_BYTES]
        mask = out[: chunk.size * 8].view(np.uint64)
        for cipher in adding:
            _fill(cipher, segment, out)
            np.add(chunk, mask, out=chunk)
        for cipher in taking:
            _fill(cipher, segment, out)
            np.subtract(chunk, mask, out=chunk)


def checksum(key: bytes, words_W: Words) -> int:
    """Return Σ r_i x_i mod 2^64, the r_i being odd words of the stream of a public key.

    Guarantees: linear in the words; changing any one word changes it; changing several in
    a way that does not depend on the key goes unseen with probability at most 2^-63.
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
