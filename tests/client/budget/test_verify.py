"""`tacit budget verify`: chain, triggers, schema, kept heads; exit 0 or 3, the bad entry named."""

import json
import shutil
import sqlite3

import pytest

from client.budget.countersigning import countersign_file, kept, signed_head
from client.budget.verifying import verify
from common.errors import LedgerError
from common.heads import heads_to_json, read_heads, write_heads

AT = "2026-04-01T00:00:00+00:00"


def tampered(path, *statements):
    """Edit the file as somebody would who knows SQLite: triggers off, edit, triggers back."""
    database = sqlite3.connect(path, isolation_level=None)
    query = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
    triggers = database.execute(query).fetchall()
    for name, _ in triggers:
        database.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        database.execute(statement)
    for _, sql in triggers:
        database.execute(sql)
    database.close()


@pytest.fixture
def charged(federation):
    """Five rounds at hill: entries 1 (genesis), 2 (open), 3 to 12."""
    federation.spend(rounds=5)
    return federation


def test_a_sound_ledger_ends_with_0(charged, tacit, fits):
    code, out, said = tacit("verify", charged.folder(), "--json")
    assert (code, said) == (0, "")
    found = json.loads(out)
    fits(found, "budget-verify")
    assert found["sound"]
    assert found["sites"][0]["head"]["seq"] == 12
    assert found["sites"][0]["heads_held_to"] == 0


@pytest.mark.parametrize(
    ("statement", "entry"),
    [
        ("UPDATE entry SET body = replace(body, '2.0', '9.0') WHERE seq = 5", 5),
        ("DELETE FROM entry WHERE seq = 7", 7),
        ("UPDATE entry SET body = replace(body, '\"steps\":10', '\"steps\":0') WHERE seq = 12", 12),
        ("UPDATE entry SET body = '{' WHERE seq = 3", 3),
    ],
)
def test_the_first_bad_entry_is_named(charged, tacit, fits, statement, entry):
    tampered(charged.folder() / "ledger.sqlite", statement)
    code, out, _ = tacit("verify", charged.folder(), "--json")
    assert code == 3
    found = json.loads(out)
    fits(found, "budget-verify")
    assert found["sites"][0]["first_bad_entry"] == entry
    code, out, _ = tacit("verify", charged.folder())
    assert code == 3
    assert f"first bad entry: {entry}" in " ".join(out.split())


def test_a_dropped_trigger_is_found(charged, tacit):
    database = sqlite3.connect(charged.folder() / "ledger.sqlite", isolation_level=None)
    database.execute("DROP TRIGGER entry_is_never_updated")
    database.close()
    code, out, _ = tacit("verify", charged.folder(), "--json")
    assert code == 3
    assert "entry_is_never_updated" in json.loads(out)["sites"][0]["problem"]


def test_one_bad_ledger_of_a_run_is_enough(charged, tacit):
    charged.spend(name="lake")
    charged.spend(name="mill")
    assert tacit("verify", charged.root)[0] == 0
    tampered(charged.folder("lake") / "ledger.sqlite", "DELETE FROM entry WHERE seq = 3")
    code, out, _ = tacit("verify", charged.root, "--json")
    assert code == 3
    assert [one["sound"] for one in json.loads(out)["sites"]] == [True, False, True]


def test_a_site_that_never_took_part_has_spent_nothing(federation, tacit):
    code, out, _ = tacit("verify", federation.folder(), "--json")
    assert code == 0
    assert json.loads(out)["sites"][0]["head"] == {"seq": 0, "digest": ""}


@pytest.mark.parametrize("trace", ["peers.json", "locks.log", "audit.jsonl"])
def test_a_ledger_that_is_gone_cannot_be_verified(federation, tacit, trace):
    (federation.folder() / trace).touch()
    code, out, _ = tacit("verify", federation.folder(), "--json")
    assert code == 3
    assert "the ledger is gone, though" in json.loads(out)["sites"][0]["problem"]


def test_a_ledger_of_which_a_head_was_kept_cannot_be_gone(charged, tacit, tmp_path):
    heads = tmp_path / "heads.json"
    heads.write_text(heads_to_json([signed_head(charged.site(), AT)]))
    for path in charged.folder().glob("ledger.sqlite*"):
        path.unlink()
    code, out, _ = tacit("verify", charged.folder(), "--heads", heads, "--json")
    assert code == 3
    assert "the ledger is gone" in json.loads(out)["sites"][0]["problem"]


def test_an_older_copy_put_back_is_found_by_a_kept_head(charged, tacit, tmp_path):
    file, heads = charged.folder() / "ledger.sqlite", tmp_path / "heads.json"
    shutil.copy(file, tmp_path / "backup")
    charged.spend(rounds=1)
    heads.write_text(heads_to_json([signed_head(charged.site(), AT)]))
    assert tacit("verify", charged.folder(), "--heads", heads)[0] == 0
    shutil.copy(tmp_path / "backup", file)
    assert tacit("verify", charged.folder())[0] == 0
    code, out, _ = tacit("verify", charged.folder(), "--heads", heads, "--json")
    found = json.loads(out)["sites"][0]
    assert code == 3
    assert "an older copy was put back" in found["problem"]
    assert found["first_bad_entry"] == 13


def test_another_history_of_the_same_length_is_found(charged, tmp_path):
    shutil.copy(charged.folder() / "ledger.sqlite", tmp_path / "backup")
    charged.spend(rounds=1)
    head = signed_head(charged.site(), AT)
    shutil.copy(tmp_path / "backup", charged.folder() / "ledger.sqlite")
    charged.spend("other", rounds=1)
    found = verify(charged.place(), (head,))
    assert not found.is_sound
    assert found.entry == head.seq


def test_a_new_ledger_in_the_place_of_the_old_is_found(charged):
    head = signed_head(charged.site(), AT)
    (charged.folder() / "ledger.sqlite").unlink()
    charged.spend(rounds=9)
    assert "the file was replaced" in verify(charged.place(), (head,)).problem


def test_the_heads_beside_a_run_are_taken_by_themselves(charged, tacit):
    run = charged.root / "run"
    shutil.copy(charged.folder() / "ledger.sqlite", charged.root / "backup")
    charged.spend(rounds=1)
    charged.spend(name="lake")
    charged.spend(name="mill")
    write_heads(
        run / "heads.json", [signed_head(charged.site(n), AT) for n in ("hill", "lake", "mill")]
    )
    code, out, _ = tacit("verify", run, "--json")
    assert code == 0
    assert [one["heads_held_to"] for one in json.loads(out)["sites"]] == [1, 1, 1]
    shutil.copy(charged.root / "backup", charged.folder() / "ledger.sqlite")
    assert tacit("verify", run)[0] == 3


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        ("{}", "not a file of ledger heads"),
        ('{"format": "tacit ledger heads", "version": 2, "heads": []}', "version 1"),
        ('{"format": "tacit ledger heads", "version": 1, "heads": [{}]}', "not a file"),
        ("no JSON", "not a file of ledger heads"),
    ],
)
def test_a_file_that_holds_no_heads_is_said(charged, tacit, tmp_path, content, says):
    path = tmp_path / "heads.json"
    if content is not None:
        path.write_text(content)
    code, _, said = tacit("verify", charged.folder(), "--heads", path)
    assert code == 3
    assert says in said


def test_heads_of_others_alone_do_not_vouch_for_a_site(charged, tacit, tmp_path):
    charged.spend(name="lake")
    write_heads(tmp_path / "heads.json", [signed_head(charged.site("lake"), AT)])
    code, out, _ = tacit("verify", charged.folder(), "--heads", tmp_path / "heads.json", "--json")
    assert code == 3
    assert "no head of this site" in json.loads(out)["sites"][0]["problem"]


def test_peers_countersign_and_keep_what_they_saw(charged, tacit, tmp_path, fits):
    path = tmp_path / "heads.json"
    code, out, _ = tacit("head", charged.folder())
    assert code == 0
    path.write_text(out)
    for peer in ("lake", "mill"):
        assert tacit("countersign", charged.folder(peer), path)[0] == 0
    fits(json.loads(path.read_text()), "ledger-heads")
    assert kept(charged.site("lake"))["hill"].seq == 12
    code, out, _ = tacit("verify", charged.folder(), "--heads", path, "--json")
    assert code == 0
    assert json.loads(out)["sites"][0]["countersigned_by"] == ["lake", "mill"]


def test_a_peer_refuses_an_older_head_of_a_site_it_saw_before(charged, tmp_path):
    path, old = tmp_path / "heads.json", signed_head(charged.site(), AT)
    charged.spend(rounds=1)
    write_heads(path, [signed_head(charged.site(), AT)])
    countersign_file(charged.site("lake"), path)
    write_heads(path, [old])
    with pytest.raises(LedgerError, match="put back or replaced"):
        countersign_file(charged.site("lake"), path)
    assert kept(charged.site("lake"))["hill"].seq == 14
    assert read_heads(path)[0].countersignatures == ()


def test_a_head_needs_a_ledger(federation, tacit):
    code, _, said = tacit("head", federation.folder())
    assert code == 3
    assert "founded in a round" in said


def test_ones_own_head_is_kept_once_its_signatures_hold(charged, tmp_path):
    path = tmp_path / "heads.json"
    write_heads(path, [signed_head(charged.site(), AT)])
    countersign_file(charged.site("lake"), path)
    countersign_file(charged.site(), path)
    assert [one.site for one in kept(charged.site())["hill"].countersignatures] == ["lake"]
    path.write_text(path.read_text().replace('"seq": 12', '"seq": 99'))
    with pytest.raises(LedgerError, match="wrong"):
        countersign_file(charged.site(), path)
    assert kept(charged.site())["hill"].seq == 12
