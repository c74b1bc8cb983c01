"""Masks: the AES-256 stream, added to a vector of 64-bit words mod 2^64.

The stream of a key is AES-256-GCM over zeros in segments of 256 KiB, the nonce being the
number of the segment: that is AES-CTR from `nonce || 00000002`, through the fastest path
that OpenSSL has. A key is used for one vector only.

Everything goes over a vector segment by segment, and all that is to be done with a segment
is done before the next one is touched: a segment stays in the cache, a vector does not.
"""

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from common.compiled import compiled
from common.secagg.memory import empty, zeros

SEGMENT_BYTES = 1 << 18
SEGMENT_WORDS = SEGMENT_BYTES // 8
STRETCH_WORDS = 1 << 17
TAG_BYTES = 16
NONCE_BYTES = 12
_ZEROS = zeros(SEGMENT_BYTES)
_ONE = np.uint64(1)
_MINUS = np.uint64((1 << 64) - 1)

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
        self._segments = count()
        self._room = np.empty(0, np.uint8)

    def take(self, size_bytes: int) -> NDArray[np.uint8]:
        """Return so many bytes, in as many segments as they need, to hold until the next call."""
        if self._room.size < size_bytes + TAG_BYTES:
            self._room = empty(-(-size_bytes // 8) + TAG_BYTES // 8, np.uint64).view(np.uint8)
        self.fill(self._room[: size_bytes + TAG_BYTES])
        return self._room[:size_bytes]

    def fill(self, out: NDArray[np.uint8]) -> None:
        """Write as many segments as it needs into `out`, whose last 16 bytes take no part.

        The tag of a segment is written over by the next one.

        Guarantees: no segment is handed out twice, to no two threads either.
        """
        for start in range(0, out.size - TAG_BYTES, SEGMENT_BYTES):
            end = min(start + SEGMENT_BYTES, out.size - TAG_BYTES)
            _fill(self._cipher, next(self._segments), out[start : end + TAG_BYTES])


def _fill(cipher: AESGCM, segment: int, out: NDArray[np.uint8]) -> None:
    """Write one segment of a stream into `out`, whose last 16 bytes take the tag."""
    zeros = _ZEROS[: out.size - TAG_BYTES]
    cipher.encrypt_into(segment.to_bytes(NONCE_BYTES, "big"), zeros, None, out.data)


def segments(words_W: Words) -> Iterator[tuple[int, int, Words]]:
    """Yield (segment, its first word, its words) of a vector, in order."""
    for segment, start in enumerate(range(0, words_W.size, SEGMENT_WORDS)):
        yield segment, start, words_W[start : start + SEGMENT_WORDS]


class Masks:
    """The masks of many keys, to be added to and taken off a vector segment by segment.

    Args:
        plus: 32-byte keys whose stream is added.
        minus: 32-byte keys whose stream is subtracted.
    """

    def __init__(self, plus: Sequence[bytes], minus: Sequence[bytes]) -> None:
        self._signed = [(_ONE, *_pairs(plus)), (_MINUS, *_pairs(minus))]
        self._rooms = [np.empty(SEGMENT_BYTES + TAG_BYTES, np.uint8) for _ in range(2)]

    def apply(self, segment: int, chunk: Words) -> None:
        """Apply all masks to the little-endian words of one segment, in place, mod 2^64."""
        nonce, zeros = segment.to_bytes(NONCE_BYTES, "big"), _ZEROS[: chunk.nbytes]
        into, into_other = (room[: chunk.nbytes + TAG_BYTES].data for room in self._rooms)
        one, other = (room[: chunk.nbytes].view(np.uint64) for room in self._rooms)
        for sign, pairs, left in self._signed:
            for cipher, second in pairs:
                cipher.encrypt_into(nonce, zeros, None, into)
                second.encrypt_into(nonce, zeros, None, into_other)
                add_two(one, other, sign, chunk)
            for cipher in left:
                cipher.encrypt_into(nonce, zeros, None, into)
                step = np.add if sign == _ONE else np.subtract
                step(chunk, one, out=chunk)


def _pairs(keys: Sequence[bytes]) -> tuple[list[tuple[AESGCM, AESGCM]], list[AESGCM]]:
    """Return the ciphers of keys two by two, and that of the last one where they are odd."""
    ciphers = [AESGCM(key) for key in keys]
    even = len(ciphers) // 2 * 2
    return list(zip(ciphers[:even:2], ciphers[1:even:2], strict=True)), ciphers[even:]


@compiled
def add_two(one: Words, other: Words, sign: np.uint64, out: Words) -> None:
    """Add two masks to words, or with a sign of 2^64 - 1 take them off, mod 2^64.

    One walk over the words for both, and not more: a third mask would not fit the cache.
    """
    for n in range(out.size):
        out[n] += sign * (one[n] + other[n])


def apply(words_W: Words, plus: Sequence[bytes], minus: Sequence[bytes]) -> None:
    """Add the masks of the keys `plus` and take off those of `minus`, in place, mod 2^64.

    Args:
        words_W: little-endian 64-bit words; changed in place.
        plus: 32-byte keys whose stream is added.
        minus: 32-byte keys whose stream is subtracted.
    """
    masks = Masks(plus, minus)
    for segment, _, chunk in segments(words_W):
        masks.apply(segment, chunk)


def add_up(vectors: Sequence[Words], out_W: Words) -> None:
    """Write the sum of vectors of one length mod 2^64.

    Long stretches: vectors are read from memory, which is faster the longer it goes straight on,
    and four at a time, so that memory need not be waited for.
    """
    for start in range(0, out_W.size, STRETCH_WORDS):
        out = out_W[start : start + STRETCH_WORDS]
        first, *others = (vector[start : start + STRETCH_WORDS] for vector in vectors)
        np.copyto(out, first)
        while len(others) >= 4:
            add_four(others.pop(), others.pop(), others.pop(), others.pop(), out)
        for other in others:
            np.add(out, other, out=out)


@compiled
def add_four(one: Words, two: Words, three: Words, four: Words, out: Words) -> None:
    """Add four vectors to another mod 2^64."""
    for n in range(out.size):
        out[n] += one[n] + two[n] + three[n] + four[n]


class Checksum:
    """Σ r_i x_i mod 2^64, the r_i being odd words of the stream of a public key.

    Guarantees: linear in the words; changing any one word changes it. Changes d_i that do not
    depend on the key go unseen with probability at most 2^-(63-v), where 2^v is the largest
    power of two that divides all d_i: 2^-63 unless all are even.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._room = np.empty(SEGMENT_BYTES + TAG_BYTES, np.uint8)
        self._total = 0

    def add(self, segment: int, chunk: Words) -> None:
        """Take in the words of one segment."""
        out = self._room[: chunk.size * 8 + TAG_BYTES]
        _fill(self._cipher, segment, out)
        self._total += int(weighed(out[: chunk.size * 8].view(np.uint64), chunk))

    @property
    def total(self) -> int:
        """The sum over all that was taken in."""
        return self._total % (1 << 64)


@compiled
def weighed(stream: Words, words: Words) -> int:
    """Return the sum of words mod 2^64, each times a word of the stream made odd."""
    total = np.uint64(0)
    for n in range(words.size):
        total += (stream[n] | _ONE) * words[n]
    return int(total)


def checksum(key: bytes, words_W: Words) -> int:
    """Return Σ r_i x_i mod 2^64 of a whole vector, see Checksum."""
    found = Checksum(key)
    for segment, _, chunk in segments(words_W):
        found.add(segment, chunk)
    return found.total
