"""The SuperLink waits for its database for a minute, not for 5 s."""

import sqlite3

import pytest
from flwr.supercore import sql_mixin

from server.coordinator import superlink


@pytest.fixture
def became(monkeypatch):
    """Become a SuperLink that only opens a database; what it then waits for it, in ms."""
    found = []

    def opened() -> None:
        connection = sqlite3.connect(":memory:")
        sql_mixin._set_sqlite_pragmas(connection, None)
        found.extend(connection.execute("PRAGMA busy_timeout").fetchone())
        found.extend(connection.execute("PRAGMA foreign_keys").fetchone())
        connection.close()

    monkeypatch.setattr(sql_mixin, "SQLITE_PRAGMAS", sql_mixin.SQLITE_PRAGMAS)
    monkeypatch.setattr(superlink, "flower_superlink", opened)
    return found


def test_it_waits_for_its_database_and_keeps_flowers_other_settings(became):
    superlink.main()
    assert became == [60_000, 1]


def test_a_setting_that_is_gone_is_said(became, monkeypatch):
    monkeypatch.setattr(sql_mixin, "SQLITE_PRAGMAS", (("foreign_keys", "ON"),))
    with pytest.raises(ImportError, match="sets no busy_timeout"):
        superlink.main()
    assert became == []
