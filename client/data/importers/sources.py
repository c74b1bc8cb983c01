"""Files of a corpus as importers meet them: inside its folder, small tables, no surprise."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from client.data.readers.files import check_size, inside
from common.errors import DataError

MAX_SMALL_BYTES = 1 << 28
MOST_CELL_CHARS = 1 << 20


def files_below(source: Path, pattern: str) -> list[Path]:
    """Return the regular files below a folder whose path fits a glob pattern, sorted.

    Raises:
        DataError: when one is a link that leads out of the folder.
    """
    found = [path for path in sorted(source.glob(pattern)) if path.is_file()]
    for path in found:
        inside_or_refuse(source, path)
    return found


def inside_or_refuse(source: Path, path: Path) -> Path:
    """Return a path below a folder as it is.

    Raises:
        DataError: when it leads out of the folder, or there is nothing.
    """
    try:
        inside(source, str(path.relative_to(source)))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except ValueError:
        raise DataError(f"{path}: the path leads outside {source}") from None
    return path


def read_lines(path: Path) -> list[str]:
    """Return the lines of a small text file; what is not UTF-8 is read as Latin-1.

    Raises:
        DataError: when it is missing, empty or too large.
    """
    check_size(path, MAX_SMALL_BYTES)
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return text.splitlines()


def read_records(
    path: Path, columns: Sequence[str] = (), delimiter: str = ","
) -> Iterator[dict[str, str]]:
    """Yield the rows of a small table with a header, cells without space around them.

    Args:
        path: the table.
        columns: which must be there.
        delimiter: between cells.

    Raises:
        DataError: when it is no such table, or a column is missing.
    """
    csv.field_size_limit(MOST_CELL_CHARS)
    reader = csv.reader(read_lines(path), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [column for column in columns if column not in header]
        if missing:
            raise DataError(f"{path}: columns are missing: {', '.join(missing)}")
        for values in reader:
            if values:
                row = dict.fromkeys(header, "")
                row.update(zip(header, (value.strip() for value in values), strict=False))
                yield row
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not well-formed: {error}") from None


def number_at(path: Path, line: int, text: str) -> float:
    """Return a finite number of a file.

    Raises:
        DataError: when the text is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if abs(value) < float("inf"):
        return value
    raise DataError(f"{path}:{line}: expected a number, found {text[:40]!r}")
