"""Shamir's secret sharing over the order of P-256, in Python integers.

Source: Shamir, "How to share a secret", CACM 1979; known answers from RFC 9591,
FROST(P-256, SHA-256).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from common.errors import ProtocolError

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SCALAR_BYTES = 32


def random_scalar(entropy: Callable[[int], bytes]) -> int:
    """Return a scalar within 2^-128 of uniform below ORDER."""
    return int.from_bytes(entropy(48), "big") % ORDER


def to_bytes(scalar: int) -> bytes:
    """Return the 32 big-endian bytes of a scalar."""
    return scalar.to_bytes(SCALAR_BYTES, "big")


def to_scalar(raw: bytes) -> int:
    """Return the scalar that 32 big-endian bytes stand for; raises ProtocolError above ORDER."""
    scalar = int.from_bytes(raw, "big")
    if len(raw) != SCALAR_BYTES or scalar >= ORDER:
        raise ProtocolError("expected a 32-byte scalar below the order of P-256")
    return scalar


def evaluate(coefficients: Sequence[int], x: int) -> int:
    """Return the polynomial with these coefficients, lowest first, at x (mod ORDER).

    The points are small, so reducing once at the end is faster than at each step.
    """
    value = 0
    for coefficient in reversed(coefficients):
        value = value * x + coefficient
    return value % ORDER


def split(
    secret: int, threshold: int, xs: Sequence[int], entropy: Callable[[int], bytes]
) -> list[int]:
    """Return one share for each x: the value there of a random polynomial through the secret.

    Args:
        secret: scalar below ORDER.
        threshold: shares needed to recover it, at least 1 and at most len(xs).
        xs: distinct, each at least 1.
        entropy: returns that many random bytes.

    Guarantees: fewer than `threshold` shares say nothing about the secret.
    """
    if not 1 <= threshold <= len(xs):
        raise ProtocolError(f"{len(xs)} shares cannot have a threshold of {threshold}")
    coefficients = [secret] + [random_scalar(entropy) for _ in range(threshold - 1)]
    return [evaluate(coefficients, x) for x in xs]


def recover(shares: Mapping[int, int]) -> int:
    """Return the value at 0 of the polynomial of least degree through these points {x: share}."""
    xs = tuple(sorted(shares))
    return sum(c * shares[x] for c, x in zip(lagrange(xs), xs, strict=True)) % ORDER


@lru_cache(maxsize=64)
def lagrange(xs: tuple[int, ...]) -> tuple[int, ...]:
    """Return the Lagrange coefficients at 0 for these points; the xs are public."""
    out = []
    for i in xs:
        above, below = 1, 1
        for j in xs:
            if j != i:
                above = above * j % ORDER
                below = below * (j - i) % ORDER
        out.append(above * pow(below, -1, ORDER) % ORDER)
    return tuple(out)
