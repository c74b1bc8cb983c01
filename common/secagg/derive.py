"""Hashes and derived keys; each is labelled with its purpose and bound to its context."""

import hashlib
import hmac

PROTOCOL = b"SA1"


def label(purpose: str, *parts: bytes | str | int) -> bytes:
    """Return the one byte string that stands for a purpose and its parts.

    Guarantees: two different (purpose, parts) never give the same bytes, since each
    part carries its length.
    """
    raw = [PROTOCOL, purpose.encode(), *map(_raw, parts)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in raw)


def _raw(part: bytes | str | int) -> bytes:
    if isinstance(part, int):
        return part.to_bytes(8, "big")
    return part.encode() if isinstance(part, str) else part


def digest(purpose: str, *parts: bytes | str | int) -> bytes:
    """Return the 32-byte SHA-256 of a labelled list of parts."""
    return hashlib.sha256(label(purpose, *parts)).digest()


def derive(secret: bytes, purpose: str, *parts: bytes | str | int, size: int = 32) -> bytes:
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
