"""Hashes and derived keys; each is labelled with its purpose and bound to its context."""

import hashlib
import hmac
from functools import lru_cache

PROTOCOL = b"SA1"


Part = bytes | str | int
_LENGTHS = [size.to_bytes(4, "big") for size in range(4096)]


def label(purpose: str, *parts: Part) -> bytes:
    """Return the one byte string that stands for a purpose and its parts.

    Guarantees: two different (purpose, parts) never give the same bytes, since each
    part carries its length.
    """
    return _prefixed((PROTOCOL, purpose, *parts))


def _prefixed(parts: tuple[Part, ...]) -> bytes:
    """Return every part with its length before it."""
    out = []
    for part in parts:
        raw = part if isinstance(part, bytes) else _raw(part)
        size = len(raw)
        out.append(_LENGTHS[size] if size < 4096 else size.to_bytes(4, "big"))
        out.append(raw)
    return b"".join(out)


def _raw(part: str | int) -> bytes:
    return part.encode() if isinstance(part, str) else part.to_bytes(8, "big")


def digest(purpose: str, *parts: Part) -> bytes:
    """Return the 32-byte SHA-256 of a labelled list of parts."""
    return hashlib.sha256(label(purpose, *parts)).digest()


@lru_cache(maxsize=4096)
def public_label(purpose: str, *parts: Part) -> bytes:
    """Return label(purpose, *parts) of public parts, remembering it; for many hashes alike."""
    return label(purpose, *parts)


@lru_cache(maxsize=4096)
def public_tail(*parts: Part) -> bytes:
    """Return what public parts add to a label, remembering it."""
    return _prefixed(parts)


def digest_between(head: bytes, tail: bytes, value: bytes) -> bytes:
    """Return the digest of a label that starts and goes on like these, and ends with a value.

    Args:
        head: from public_label.
        tail: from public_tail.
        value: the last part, below 4096 bytes.
    """
    return hashlib.sha256(b"".join((head, tail, _LENGTHS[len(value)], value))).digest()


def derive(secret: bytes, purpose: str, *parts: Part, size: int = 32) -> bytes:
    """Return `size` bytes that only a holder of `secret` can compute.

    Source: HKDF-Expand of RFC 5869 with SHA-256; the label is its info. Secrets are uniform
    (or scalars modulo an order within 2^-32 of 2^256), so the extract step is left out.
    """
    info = label(purpose, *parts)
    block, out = b"", b""
    for counter in range(1, -(-size // 32) + 1):
        block = hmac.digest(secret, block + info + bytes([counter]), "sha256")
        out += block
    return out[:size]
