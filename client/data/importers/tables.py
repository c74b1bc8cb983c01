"""Parquet tables that come with a corpus."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from common.errors import DataError


def read_frame(source: Path, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """Return a corpus' table.

    Args:
        source: the corpus' folder.
        name: the file's name; another single .parquet file of the folder serves too.
        columns: which must be there.

    Raises:
        DataError: when there is no such file, or a column is missing.
    """
    path = source / name
    others = sorted(source.glob("*.parquet"))
    if not path.exists() and len(others) == 1:
        path = others[0]
    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError:
        raise DataError(f"{source}: expected a file {name}") from None
    except (OSError, ValueError, pa.ArrowException):
        raise DataError(f"{path}: not a readable Parquet file") from None
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DataError(f"{path}: columns are missing: {', '.join(missing)}")
    return frame
