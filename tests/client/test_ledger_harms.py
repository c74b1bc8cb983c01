"""Whatever is done to a site's ledger, the site's next round is refused before data is read."""

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import client.session
from client.budget.verifying import HEADS
from common.errors import LedgerError
from common.heads import sign_head, write_heads
from common.keys import read_identity
from common.models.registry import build
from common.parameters import to_arrays
from common.privacy.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]
SITE = "hill"
LOCAL = ("privacy.mode=local", "privacy.noise_multiplier=0.7")


def edited(path, *statements):
    """Edit the file as somebody would who knows SQLite: triggers off, edit, triggers back."""
    database = sqlite3.connect(path, isolation_level=None)
    kept = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in kept:
        database.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        database.execute(statement)
    for _, sql in kept:
        database.execute(sql)
    database.close()


def run_sql(path, statement):
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(statement)
    database.close()


def damaged(path):
    content = bytearray(path.read_bytes())
    content[content.index(b'"noise_multiplier"') + 20] ^= 1
    path.write_bytes(content)


def of_another_site(path):
    path.unlink()
    with Ledger.open(path, site="elsewhere"):
        pass


LESS = "UPDATE entry SET body = replace(body, '\"steps\":3', '\"steps\":0') WHERE seq = 3"
HARMS = {
    "edited row": (lambda path: edited(path, LESS), "entry 3 was altered"),
    "removed row": (lambda path: edited(path, "DELETE FROM entry WHERE seq = 3"), "entry 3 is"),
    "dropped trigger": (
        lambda path: run_sql(path, "DROP TRIGGER entry_is_never_updated"),
        "'entry_is_never_updated' in the ledger's schema is missing",
    ),
    "weaker trigger": (
        lambda path: [
            run_sql(path, "DROP TRIGGER entry_is_never_deleted"),
            run_sql(
                path,
                "CREATE TRIGGER entry_is_never_deleted BEFORE DELETE ON entry WHEN 0 "
                "BEGIN SELECT 1; END",
            ),
        ],
        "'entry_is_never_deleted' in the ledger's schema is altered",
    ),
    "damaged byte": (damaged, r"entry \d+ was altered"),
    "read-only file": (lambda path: path.chmod(0o400), r"read-only|cannot be opened for writing"),
    "readable by others": (lambda path: path.chmod(0o644), "others may read the ledger"),
    "no ledger at all": (lambda path: path.write_bytes(b"not a ledger" * 999), "not a ledger"),
    "another site's": (of_another_site, "belongs to site 'elsewhere', not 'hill'"),
}
"""Name -> what is done to a closed ledger, and what the site's own log says of it."""


@pytest.fixture
def spent(lay_table):
    """A federation after one private round, its sessions ended."""
    table = lay_table(*LOCAL)
    table.sums(run="first")[0].over("train", 1, to_arrays(build(table.study)))
    client.session.session.cache_clear()
    return table


def ledger_of(table, site=SITE):
    return table.folder(site) / "ledger.sqlite"


def closed(table, site=SITE):
    """The ledger's file with nothing beside it."""
    path = ledger_of(table, site)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


def next_round(table, monkeypatch):
    """Another run asks for its first round; returns the sites whose data was read."""
    read, load = [], client.session.load_site_data

    def watched(study, manifest, *args, **options):
        read.append(manifest.parent.name)
        return load(study, manifest, *args, **options)

    monkeypatch.setattr(client.session, "load_site_data", watched)
    client.session.session.cache_clear()
    model = {name: value + 1 for name, value in to_arrays(build(table.study)).items()}
    with pytest.raises(LedgerError, match=SITE):
        table.sums(run="second")[0].over("train", 1, model)
    return read


def said(table):
    return (table.folder(SITE) / "site.log").read_text()


@pytest.mark.parametrize("name", HARMS)
def test_a_harmed_ledger_is_refused_before_data_is_read(spent, monkeypatch, name):
    harm, says = HARMS[name]
    path = closed(spent)
    harm(path)
    assert SITE not in next_round(spent, monkeypatch)
    assert re.search(says, said(spent)), said(spent)


def keep_own_head(table):
    folder = table.folder(SITE)
    with Ledger.open(ledger_of(table), site=SITE) as ledger:
        identity = read_identity(folder / "identity.key", SITE)
        number = ledger.entries()[0].body["ledger"]
        signed = sign_head(identity, number, ledger.head(), "2026-01-02T12:00:00+00:00")
    write_heads(folder / HEADS, [signed])


def test_an_older_copy_put_back_is_refused_where_a_later_head_is_kept(spent, monkeypatch, tmp_path):
    older = tmp_path / "older.sqlite"
    shutil.copy2(closed(spent), older)
    with Ledger.open(ledger_of(spent), site=SITE) as ledger:
        study = next(iter(ledger.studies()))
        ledger.reserve(study, ledger.studies()[study].events[0].with_steps(1), round=99)
    keep_own_head(spent)
    shutil.copy2(older, closed(spent))
    assert SITE not in next_round(spent, monkeypatch)
    assert "older copy was put back" in said(spent)


def test_a_ledger_cut_short_is_refused_where_its_head_is_kept(spent, monkeypatch):
    keep_own_head(spent)
    edited(closed(spent), "DELETE FROM entry WHERE seq > 2")
    assert SITE not in next_round(spent, monkeypatch)
    assert "ends at entry 2 and does not hold" in said(spent)


def test_a_ledger_taken_away_is_refused_where_its_head_is_kept(spent, monkeypatch):
    keep_own_head(spent)
    closed(spent).unlink()
    assert SITE not in next_round(spent, monkeypatch)
    assert "older copy was put back" in said(spent)


def test_a_ledger_that_goes_on_from_the_kept_head_is_used(spent):
    keep_own_head(spent)
    client.session.session.cache_clear()
    assert spent.session(SITE).ledger.head().seq > 3


@pytest.mark.parametrize("how", ["put in its place", "taken away"])
def test_a_file_exchanged_under_a_running_site_is_refused(spent, tmp_path, how):
    """The open handle would go on in a file that nobody finds again."""
    older = tmp_path / "older.sqlite"
    shutil.copy2(closed(spent), older)
    ledger = spent.session(SITE).ledger
    study = next(iter(ledger.studies()))
    event = ledger.studies()[study].events[0].with_steps(1)
    ledger.reserve(study, event, round=98)
    if how == "taken away":
        ledger_of(spent).unlink()
    else:
        older.replace(ledger_of(spent))
    with pytest.raises(LedgerError, match="exchanged or taken away while it was in use"):
        ledger.reserve(study, event, round=99)
    ledger.close()


def test_an_older_copy_written_over_an_open_ledger_is_never_an_under_count(spent, tmp_path):
    older = tmp_path / "older.sqlite"
    shutil.copy2(closed(spent), older)
    with spent.session(SITE).ledger as ledger:
        study = next(iter(ledger.studies()))
        event = ledger.studies()[study].events[0].with_steps(1)
        before = sum(e.steps for e in ledger.events())
        charged = 0
        for number in range(3):
            ledger.reserve(study, event, round=100 + number)
            charged += 1
        ledger_of(spent).write_bytes(older.read_bytes())
        with suppress(LedgerError):
            ledger.reserve(study, event, round=200)
            charged += 1
    found = None
    with suppress(LedgerError), Ledger.open(ledger_of(spent), site=SITE) as again:
        found = sum(e.steps for e in again.events())
    assert found is None or found >= before + charged


def test_two_sites_cannot_share_one_ledger(spent, monkeypatch):
    """One file under two folders: the second site is refused by name."""
    path = ledger_of(spent)
    for file in path.parent.glob("ledger.sqlite*"):
        file.unlink()
    path.symlink_to(closed(spent, "lake"))
    assert SITE not in next_round(spent, monkeypatch)
    assert "belongs to site 'lake', not 'hill'" in said(spent)


def test_a_reader_outside_takes_nothing_from_a_site_that_opened_its_ledger_twice(spent):
    """As with two runs in one process: a second handle must not drop the first one's locks."""
    path = ledger_of(spent)
    with Ledger.open(path, site=SITE) as first, Ledger.open(path, site=SITE):
        study = next(iter(first.studies()))
        event = first.studies()[study].events[0].with_steps(1)
        first.reserve(study, event, round=97)
        code = "import sys, pathlib; from common.privacy.ledger import read_ledger as r; "
        code += "r(pathlib.Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, cwd=ROOT)
        assert path.with_name(path.name + "-wal").exists()
        assert first.reserve(study, event, round=98).seq == first.head().seq
