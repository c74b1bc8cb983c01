"""A site's identity key and the roster of public keys, as files."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from common.errors import ConfigError
from common.secagg.channel import Identity
from common.secagg.roster import Roster

_MODE = 0o600


def new_identity(name: str) -> Identity:
    """A fresh identity; its key comes from the operating system."""
    return Identity(name, os.urandom(32))


def write_identity(path: Path, identity: Identity) -> None:
    """Write the private key, readable by its owner alone; never over an existing one.

    Raises:
        ConfigError: the file is already there.
    """
    write_secret(path, identity.private_key.hex().encode() + b"\n")


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that its owner alone can read; never over an existing one.

    Raises:
        ConfigError: the file is already there.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    except FileExistsError as error:
        raise ConfigError(f"{path} is already there; a key is never overwritten.") from error
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)


def read_identity(path: Path, name: str) -> Identity:
    """The identity of a site from its key file.

    Raises:
        ConfigError: missing, readable by others, or not a key.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path} can be read by others; expected mode 0600 (chmod 600).")
        key = bytes.fromhex(path.read_text().strip())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ConfigError(f"{path} is not an identity key: expected 64 hexadecimal digits.")
    return Identity(name, key)


def write_roster(path: Path, keys: Mapping[str, bytes]) -> None:
    """Write names and public keys."""
    content = {"version": 1, "sites": {name: key.hex() for name, key in sorted(keys.items())}}
    path.write_text(json.dumps(content, indent=1) + "\n")


def read_roster(path: Path) -> Roster:
    """The pinned names and public keys of all sites.

    Raises:
        ConfigError: missing, or not a roster.
    """
    try:
        sites = json.loads(path.read_text())["sites"]
        return Roster({str(name): bytes.fromhex(key) for name, key in sites.items()})
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is not a roster: expected names and public keys.") from error
