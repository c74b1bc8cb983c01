from pathlib import Path

import pandas as pd
import pytest

from client.data.check import check_manifest


@pytest.fixture
def rows():
    """Read a site's manifest, check it with all its recordings, and return its table."""

    def read(out: Path, site: str = "site_0") -> pd.DataFrame:
        path = out / "sites" / site / "manifest.csv"
        check_manifest(path)
        return pd.read_csv(path, dtype=str, keep_default_na=False)

    return read
