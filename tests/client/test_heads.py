"""A ledger that is put back is found: by the site itself, by its peers, by the coordinator."""

import json
import shutil
import sqlite3

import numpy as np
import pytest

import client.session
from client.budget.places import find_places
from client.budget.verifying import all_verified
from client.heads import LedgerNotes, kept_notes
from client.site.audit_log import check, read
from common.errors import EnvironmentFault, LedgerError, TooFewSites
from common.models.registry import build
from common.parameters import to_arrays
from common.privacy.ledger import Head, read_ledger
from common.witness import head_of, note_of
from server.heads import Heads

SITE = "hill"
OTHERS = ("harbour", "lake", "mill")


def model_of(table, shift):
    return {name: value + shift for name, value in to_arrays(build(table.study)).items()}


def play(table, shift, heads=None):
    """One sum of a run of its own; what the coordinator logged, and who contributed."""
    client.session.session.cache_clear()
    sums, lines = table.sums(run=f"run {shift}", heads=heads)
    total = sums.over("evaluate", 1, model_of(table, shift))
    client.session.session.cache_clear()
    return total.contributors, lines


def closed(path):
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


def entries(table, site=SITE):
    return read_ledger(table.folder(site) / "ledger.sqlite").head


@pytest.fixture
def table(lay_table):
    return lay_table()


@pytest.fixture
def copies(table, tmp_path):
    """A federation after two runs, and copies of a site's files as they were after the first."""
    run, kept = tmp_path / "run", tmp_path / "copies"
    kept.mkdir()
    heads = Heads((run,))
    play(table, 1, heads)
    for name in ("ledger.sqlite", "peers.json"):
        closed(table.folder(SITE) / name) if name.endswith("sqlite") else None
        shutil.copy2(table.folder(SITE) / name, kept / name)
    play(table, 2, heads)
    return kept


def put_back(table, copies, *names):
    for name in names:
        target = table.folder(SITE) / name
        closed(target) if name.endswith("sqlite") else None
        shutil.copy2(copies / name, target)


def test_each_site_keeps_the_head_after_its_last_charge_of_every_site(table):
    play(table, 1)
    newest = {site: entries(table, site) for site in (SITE, *OTHERS)}
    for site in newest:
        path = table.folder(site) / "peers.json"
        assert {name: head_of(note) for name, note in kept_notes(path).items()} == newest
        assert path.stat().st_mode & 0o777 == 0o600


def test_the_site_itself_refuses_a_ledger_that_lacks_what_it_published(table, copies):
    put_back(table, copies, "ledger.sqlite")
    before = entries(table)
    with pytest.raises(LedgerError, match=f"{SITE} refused: the site's privacy ledger"):
        play(table, 3)
    assert entries(table) == before
    assert "older copy was put back" in (table.folder(SITE) / "site.log").read_text()


def test_its_peers_refuse_a_ledger_that_went_back(table, copies):
    put_back(table, copies, "ledger.sqlite", "peers.json")
    before = {site: entries(table, site) for site in (SITE, *OTHERS)}
    with pytest.raises(TooFewSites, match=f"{SITE}: lake refused: its ledger went .* entry 6"):
        play(table, 3)
    assert {site: entries(table, site) for site in before} == before


def test_the_coordinator_drops_and_names_a_site_whose_ledger_went_back(table, copies, tmp_path):
    put_back(table, copies, "ledger.sqlite", "peers.json")
    before = entries(table)
    contributors, lines = play(table, 3, Heads((tmp_path / "run",)))
    assert contributors == OTHERS
    assert any(line.startswith(f"{SITE} is blamed: its ledger went back") for line in lines)
    assert entries(table) == before


def test_a_run_keeps_heads_that_anybody_can_hold_a_ledger_to(table, copies, tmp_path):
    heads = tmp_path / "run" / "heads.json"
    found = {one.site: one for one in all_verified(table.root, heads, None)}
    assert all(one.is_sound for one in found.values())
    assert found[SITE].countersigned == OTHERS
    put_back(table, copies, "ledger.sqlite")
    found = {one.site: one for one in all_verified(table.root, heads, None)}
    assert "older copy was put back" in found[SITE].problem
    assert all(found[site].is_sound for site in OTHERS)


@pytest.mark.parametrize("where", ["uploads", "confirmations"])
def test_heads_of_a_run_with_a_wrong_signature_vouch_for_nothing(table, copies, tmp_path, where):
    heads = tmp_path / "run" / "heads.json"
    content = json.loads(heads.read_text())
    content["rounds"][0][where][0]["signature"] = "00" * 64
    heads.write_text(json.dumps(content))
    found = list(all_verified(table.root, heads, None))
    assert len(found) == len(find_places(table.root))
    assert not any(one.is_sound for one in found)


def test_a_head_that_a_run_did_not_show_is_not_believed(table, copies, tmp_path):
    heads = tmp_path / "run" / "heads.json"
    content = json.loads(heads.read_text())
    content["rounds"][0]["uploads"][1]["note"] = note_of(Head(1, "11" * 32)).hex()
    heads.write_text(json.dumps(content))
    found = {one.site: one for one in all_verified(table.root, heads, None)}
    assert "not signed by it" in found[SITE].problem


def test_a_site_that_cannot_keep_heads_joins_no_sum(table):
    play(table, 1)
    path = table.folder(SITE) / "peers.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(LedgerError, match=SITE):
        play(table, 2)


@pytest.mark.parametrize("text", ["[", "[]", '{"lake": 3}', '{"lake": "xx"}', '{"lake": "00"}'])
def test_a_damaged_file_of_heads_is_refused(tmp_path, text):
    (tmp_path / "peers.json").write_text(text)
    with pytest.raises(LedgerError, match="restore it"):
        kept_notes(tmp_path / "peers.json")


def test_what_is_kept_never_goes_back(tmp_path):
    notes = LedgerNotes(tmp_path / "peers.json", SITE, lambda: None)
    newer, older = note_of(Head(7, "77" * 32)), note_of(Head(6, "66" * 32))
    notes.keep({"lake": newer, "mill": older})
    notes.keep({"lake": older, "mill": newer})
    assert LedgerNotes(tmp_path / "peers.json", SITE, lambda: None).kept() == {
        "lake": newer,
        "mill": newer,
    }


def test_a_round_leaves_its_lines_in_the_audit_log(table):
    play(table, 1)
    folder = table.folder(SITE)
    check(folder / "audit.jsonl", table.roster[SITE])
    lines = read(folder / "audit.jsonl")
    assert [line["event"] for line in lines] == ["shared", "answered"]
    head = entries(table)
    assert lines[1]["ledger"] == f"{head.seq}:{head.digest}"
    assert (lines[1]["stage"], lines[1]["run"], lines[1]["round"]) == ("mask", "run 1", 1)
    shared = [read(table.folder(site) / "audit.jsonl")[0]["heads"] for site in OTHERS]
    assert shared == [lines[0]["heads"]] * 3


def test_a_refusal_leaves_its_word_and_no_reason_in_the_audit_log(table, copies):
    put_back(table, copies, "ledger.sqlite")
    with pytest.raises(LedgerError):
        play(table, 3)
    last = read(table.folder(SITE) / "audit.jsonl")[-1]
    assert (last["event"], last["stage"], last["word"]) == ("refused", "advertise", "ledger")
    assert "older copy" not in json.dumps(last)


@pytest.mark.parametrize("event", ["shared", "answered"])
def test_an_answer_whose_line_cannot_be_written_does_not_leave(table, monkeypatch, event):
    import client.trail as module

    real, hill = module.append, table.folder(SITE) / "audit.jsonl"

    def full(path, identity, name, at, **details):
        if path == hill and name == event:
            raise EnvironmentFault(f"{path} cannot be written: No space left on device.")
        return real(path, identity, name, at, **details)

    monkeypatch.setattr(module, "append", full)
    contributors, _ = play(table, 1)
    assert contributors == OTHERS
    assert "No space left" in (table.folder(SITE) / "site.log").read_text()
    assert np.isin(["shared", "answered"], [line["event"] for line in read(hill)]).sum() < 2
