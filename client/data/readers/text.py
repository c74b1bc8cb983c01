"""Text files: UTF-8, small."""

from pathlib import Path

from client.data.readers.files import check_size
from common.errors import DataError

MAX_TEXT_BYTES = 1 << 20


def read_text(path: Path) -> str:
    """Return the file's text.

    Raises:
        DataError: when the file is missing, empty, larger than 1 MiB or not UTF-8.
    """
    check_size(path, MAX_TEXT_BYTES)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: not UTF-8 text at byte {error.start}") from None
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read: {error.strerror}") from None
