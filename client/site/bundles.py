"""The app bundles that a site has approved: the coordinator's code is compared, never run.

A bundle is a zip of the coordinator's code. The site runs its own installed code, so approving
means: a person has seen what that coordinator runs, and what changed against the last one.
"""

import hashlib
import io
import json
import tomllib
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError

APPROVED = "bundles.json"
LARGEST_BUNDLE = 10 << 20
LARGEST_CONTENT = 64 << 20
_CONTENTS = ".info/CONTENT"
_PYPROJECT = "pyproject.toml"


@dataclass(frozen=True)
class Bundle:
    """A bundle's hash and those of the files in it.

    Args:
        sha256: of the whole, byte by byte, 64 hexadecimal digits.
        files: path in the bundle -> SHA-256 of its content; pyproject.toml by what it says, and
            without Flower's list of contents where that holds nothing of its own.
    """

    sha256: str
    files: dict[str, str]


@dataclass(frozen=True)
class Difference:
    """A file that is not the same in two sets of files: "added", "removed" or "changed"."""

    path: str
    change: str


def read_bundle(path: Path) -> Bundle:
    """A bundle from its file; nothing in it is run or unpacked to disk.

    Raises:
        ConfigError: missing, too large, or not a zip.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_BUNDLE:
            raise ConfigError(f"{path} has {size} bytes; Flower takes no bundle over 10 MiB.")
        raw = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            files = _files(path, archive)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ConfigError(f"{path} is not a bundle: `flwr build` makes one.") from error
    return Bundle(hashlib.sha256(raw).hexdigest(), files)


def _files(path: Path, archive: zipfile.ZipFile) -> dict[str, str]:
    listed = [entry for entry in archive.infolist() if not entry.is_dir()]
    if sum(entry.file_size for entry in listed) > LARGEST_CONTENT:
        raise ConfigError(f"{path} unpacks to over {LARGEST_CONTENT >> 20} MiB; it is no bundle.")
    contents = {entry.filename: _read(archive, entry) for entry in listed}
    if len(contents) != len(listed):
        raise ConfigError(f"{path} holds two files of one name; it is no bundle.")
    if _is_of_the_others(contents.get(_CONTENTS), contents):
        del contents[_CONTENTS]
    return {name: _hash(name, content) for name, content in contents.items()}


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        return file.read(entry.file_size + 1)


def _is_of_the_others(listing: bytes | None, contents: dict[str, bytes]) -> bool:
    """Whether Flower's list of contents says what the other files say by themselves."""
    expected = {
        f"{name},{hashlib.sha256(content).hexdigest()},{8 * len(content)}"
        for name, content in contents.items()
        if name != _CONTENTS
    }
    return listing is not None and set(listing.decode(errors="replace").split("\n")) == expected


def _hash(name: str, content: bytes) -> str:
    """The hash of a file; of pyproject.toml by what it says, since Flower writes it anew."""
    if name == _PYPROJECT:
        with suppress(ValueError):
            said = tomllib.loads(content.decode())
            content = json.dumps(said, sort_keys=True, default=str).encode()
    return hashlib.sha256(content).hexdigest()


def approve(root: Path, bundle: Bundle) -> None:
    """Put a bundle on the site's list, last."""
    others = [known for known in approved(root) if known.sha256 != bundle.sha256]
    content = [{"sha256": one.sha256, "files": one.files} for one in (*others, bundle)]
    part = root / f"{APPROVED}.part"
    part.write_text(json.dumps({"version": 1, "approved": content}, indent=1) + "\n")
    part.replace(root / APPROVED)


def approved(root: Path) -> tuple[Bundle, ...]:
    """The bundles on the site's list, in the order of their approval.

    Raises:
        ConfigError: the list is damaged.
    """
    path = root / APPROVED
    if not path.exists():
        return ()
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["approved"]
        return tuple(Bundle(str(one["sha256"]), dict(one["files"])) for one in listed)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not a list of bundles; approve the bundle again.") from error


def is_approved(root: Path, sha256: str) -> bool:
    """Whether a bundle of that hash is on the site's list."""
    return any(bundle.sha256 == sha256 for bundle in approved(root))


def differences(old: dict[str, str], new: dict[str, str]) -> tuple[Difference, ...]:
    """What changed between two sets of files, sorted by path."""
    changed = [path for path in sorted({*old, *new}) if old.get(path) != new.get(path)]
    return tuple(Difference(path, _change(path, old, new)) for path in changed)


def _change(path: str, old: dict[str, str], new: dict[str, str]) -> str:
    return "added" if path not in old else "removed" if path not in new else "changed"


def installed_files(app: Path, names: dict[str, str]) -> dict[str, str]:
    """The hashes of the same files as they are installed at this site; none outside `app`."""
    home = app.resolve()
    paths = {name: (home / name).resolve() for name in names}
    found = {n: path for n, path in paths.items() if home in path.parents and path.is_file()}
    return {name: _hash(name, path.read_bytes()) for name, path in found.items()}
