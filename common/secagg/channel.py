"""What one site tells another: HPKE (RFC 9180) in two suites, and Ed25519 identities.

Key pairs are derived from 32-byte secrets, so that a recovered secret can be compared
with the public key that was advertised.
"""

from dataclasses import dataclass, field
from functools import cached_property

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from common.errors import ConfigError, ProtocolError
from common.secagg.derive import derive, digest

PublicKey = X25519PublicKey | hpke.MLKEM768X25519PublicKey
PrivateKey = X25519PrivateKey | hpke.MLKEM768X25519PrivateKey
MLKEM_PUBLIC_BYTES = 1184


@dataclass(frozen=True)
class Suite:
    """One way to encrypt between sites.

    Args:
        name: how policies name it.
        kem: the key encapsulation; HKDF-SHA256 and AES-256-GCM go with each.
        public_bytes: size of a public key.
        overhead_bytes: by how much a ciphertext is longer than its plaintext.
    """

    name: str
    kem: hpke.KEM
    public_bytes: int
    overhead_bytes: int

    @cached_property
    def hpke(self) -> hpke.Suite:
        """The suite as RFC 9180 counts it."""
        return hpke.Suite(self.kem, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


SUITES = {
    "x25519": Suite("x25519", hpke.KEM.X25519, 32, 32 + 16),
    "mlkem768_x25519": Suite("mlkem768_x25519", hpke.KEM.MLKEM768_X25519, 1216, 1120 + 16),
}


def suite(name: str) -> Suite:
    """Return the suite of that name; raises ConfigError, naming those that exist."""
    if name not in SUITES:
        raise ConfigError(f"unknown suite {name!r}; known: {', '.join(sorted(SUITES))}")
    return SUITES[name]


@dataclass(frozen=True)
class KeyPair:
    """A private key and the bytes of its public key."""

    private: PrivateKey = field(repr=False)
    public: bytes


def key_pair(suite: Suite, secret: bytes, purpose: str, *parts: bytes | str | int) -> KeyPair:
    """Return the key pair that a secret stands for, for one purpose and context."""
    x25519 = X25519PrivateKey.from_private_bytes(derive(secret, f"{purpose} x25519", *parts))
    x25519_public = x25519.public_key().public_bytes_raw()
    if suite.kem == hpke.KEM.X25519:
        return KeyPair(x25519, x25519_public)
    seed = derive(secret, f"{purpose} mlkem768", *parts, size=64)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(seed)
    public = mlkem.public_key().public_bytes_raw() + x25519_public
    return KeyPair(hpke.MLKEM768X25519PrivateKey(mlkem, x25519), public)


def public_key(suite: Suite, raw: bytes) -> PublicKey:
    """Return the public key that these bytes encode; raises ProtocolError when they do not."""
    if len(raw) != suite.public_bytes:
        raise ProtocolError(f"expected a key of {suite.public_bytes} bytes, got {len(raw)}")
    try:
        x25519 = X25519PublicKey.from_public_bytes(raw[-32:])
        if suite.kem == hpke.KEM.X25519:
            return x25519
        mlkem = MLKEM768PublicKey.from_public_bytes(raw[:MLKEM_PUBLIC_BYTES])
    except ValueError as error:
        raise ProtocolError("expected a valid public key of the suite") from error
    return hpke.MLKEM768X25519PublicKey(mlkem, x25519)


def seal(suite: Suite, key: PublicKey, info: bytes, plaintext: bytes) -> bytes:
    """Return `plaintext` encrypted to a public key, bound to `info`.

    Edge cases: the key encapsulation draws its own randomness inside OpenSSL; it is the
    one step of the protocol whose entropy cannot be an argument. A key with which no
    secret can be agreed (a point of low order) raises ProtocolError.
    """
    try:
        return suite.hpke.encrypt(plaintext, key, info)
    except ValueError as error:
        raise ProtocolError("no secret can be agreed with this public key") from error


def open_sealed(suite: Suite, key: PrivateKey, info: bytes, sealed: bytes) -> bytes:
    """Return what was sealed to this key under this info; raises ProtocolError otherwise."""
    try:
        return suite.hpke.decrypt(sealed, key, info)
    except (InvalidTag, ValueError) as error:
        raise ProtocolError("the ciphertext does not open") from error


@dataclass(frozen=True)
class Identity:
    """A site's name and its Ed25519 signing key, 32 bytes that never leave the site."""

    name: str
    private_key: bytes = field(repr=False)

    @property
    def public_key(self) -> bytes:
        """The 32 bytes that the roster holds."""
        return self._key().public_key().public_bytes_raw()

    def sign(self, purpose: str, *parts: bytes | str | int) -> bytes:
        """Return the 64-byte signature over a purpose and its parts."""
        return self._key().sign(digest(f"signed {purpose}", *parts))

    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.private_key)


def verify(public: bytes, signature: bytes, purpose: str, *parts: bytes | str | int) -> bool:
    """Return whether `signature` is that of `public` over a purpose and its parts."""
    key = Ed25519PublicKey.from_public_bytes(public)
    try:
        key.verify(signature, digest(f"signed {purpose}", *parts))
    except InvalidSignature:
        return False
    return True
