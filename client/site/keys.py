"""The SuperNode's key pair, as Flower wants it: EC on P-384, in OpenSSH's forms."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common.errors import ConfigError
from common.keys import write_secret


def new_node_key(path: Path) -> str:
    """Write a fresh private key, mode 0600, and return its public key in one line.

    Raises:
        ConfigError: there is a file already; a key is never overwritten.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    write_secret(path, private)
    return _public(key)


def read_node_key(path: Path) -> str:
    """The public key, in one line, of the private key in a file.

    Raises:
        ConfigError: missing, or not such a key.
    """
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not a private key in OpenSSH's form.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path} is not an EC key; Flower takes no other.")
    return _public(key)


def _public(key: ec.EllipticCurvePrivateKey) -> str:
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return key.public_key().public_bytes(*form).decode()
