"""Foreign arrays: .npy and .npz without pickles, their size known before they are read."""

import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from client.data.readers.files import check_size
from common.errors import DataError

MAX_ARRAY_BYTES = 1 << 30
MAX_MEMBERS = 256
AnyArray = npt.NDArray[Any]


def read_npy(path: Path, most_bytes: int = MAX_ARRAY_BYTES) -> AnyArray:
    """Return the array of a .npy file.

    Raises:
        DataError: when it is damaged, holds objects, or is larger than `most_bytes`.
    """
    check_size(path, most_bytes)
    try:
        with path.open("rb") as file:
            return _read_member(path.name, file, most_bytes)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise DataError(f"{path.name}: not a readable .npy array: {_first(error)}") from None


def read_npz(path: Path, most_bytes: int = MAX_ARRAY_BYTES) -> dict[str, AnyArray]:
    """Return the named arrays of a .npz file.

    Guarantees: what the file claims to hold when unpacked is added up before anything is
    unpacked, and no member is read beyond its claim, so a zip bomb is refused unread.

    Raises:
        DataError: when it is damaged, holds objects, or unpacks to more than `most_bytes`.
    """
    check_size(path, most_bytes)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > most_bytes or len(members) > MAX_MEMBERS:
                raise DataError(
                    f"{path.name}: {len(members)} arrays, {total / 1e6:,.0f} MB when unpacked; "
                    f"at most {MAX_MEMBERS} arrays and {most_bytes / 1e6:,.0f} MB are read"
                )
            return {
                member.filename.removesuffix(".npy"): _member(path.name, archive, member)
                for member in members
            }
    except (OSError, ValueError, EOFError, KeyError, MemoryError, RuntimeError) as error:
        raise DataError(f"{path.name}: not a readable .npz file: {_first(error)}") from None
    except (zipfile.BadZipFile, NotImplementedError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise DataError(f"{path.name}: not a readable .npz file: {_first(error)}") from None


def _member(name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> AnyArray:
    with archive.open(member) as file:
        return _read_member(name, file, member.file_size)


def _read_member(name: str, file: IO[bytes], most_bytes: int) -> AnyArray:
    version = np.lib.format.read_magic(file)
    if version not in {(1, 0), (2, 0)}:
        raise ValueError(f"version {version} of the array format is not known")
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject or dtype.kind not in "biufSU":
        raise DataError(f"{name}: holds {dtype} objects; only arrays of numbers are read")
    size_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size_bytes > most_bytes:
        raise DataError(f"{name}: claims {size_bytes / 1e6:,.0f} MB, more than the file holds")
    data = file.read(size_bytes)
    if len(data) != size_bytes:
        raise ValueError("the file is truncated")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")


def _first(error: BaseException) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
