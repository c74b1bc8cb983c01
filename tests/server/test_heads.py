"""What the coordinator keeps of ledgers survives a restart; a run leaves it for others to check."""

import pytest

from client.budget.verifying import all_verified
from common.errors import EnvironmentFault, LedgerError
from common.heads import newest, read_heads
from common.models.registry import build
from common.parameters import to_arrays
from common.privacy.ledger import Head
from common.witness import note_of
from server.heads import HEADS, Heads


@pytest.fixture
def kept(lay_table, tmp_path):
    """A federation, and the heads that one sum left in two folders."""
    table = lay_table()
    heads = Heads((tmp_path / "run", tmp_path / "federation"))
    sums, _ = table.sums(heads=heads)
    sums.over("evaluate", 1, to_arrays(build(table.study)))
    return table, heads


def test_the_head_after_the_charge_is_what_a_site_is_held_to(kept):
    table, heads = kept
    there = table.session("lake").ledger.head()
    assert heads.follows("lake", note_of(there)) == ""
    assert "went back" in heads.follows("lake", note_of(Head(there.seq - 1, "11" * 32)))
    assert "contradicts" in heads.follows("lake", note_of(Head(there.seq, "11" * 32)))
    assert heads.follows("lake", note_of(Head(there.seq + 2, "11" * 32))) == ""
    assert "went back" in heads.follows("lake", note_of(there))
    assert "shows no head" in heads.follows("lake", None)
    assert heads.follows("a new site", note_of(Head(1, "11" * 32))) == ""


@pytest.mark.parametrize("folder", ["run", "federation"])
def test_either_folder_is_enough_after_a_restart(kept, tmp_path, folder):
    table, _ = kept
    again = Heads((tmp_path / folder,))
    there = table.session("lake").ledger.head()
    assert "went back" in again.follows("lake", note_of(Head(there.seq - 1, "11" * 32)))


def test_a_site_that_missed_a_sum_keeps_its_place_in_the_file(kept, tmp_path):
    table, heads = kept
    before = {one.site: one.head for one in read_heads(tmp_path / "run" / HEADS)}
    (table.folder("hill") / "locks.log").unlink()
    (table.folder("hill") / "locks.log").mkdir()  # it cannot remember, so it joins no sum
    changed = {name: value + 1 for name, value in to_arrays(build(table.study)).items()}
    table.sums(run="run-2", heads=heads)[0].over("evaluate", 1, changed)
    after = newest(read_heads(tmp_path / "run" / HEADS))
    assert after["hill"].head == before["hill"]
    assert all(after[site].seq == before[site].seq + 2 for site in ("harbour", "lake", "mill"))


@pytest.mark.parametrize("text", ["", "{}", '{"format": "tacit ledger heads", "version": 1}'])
def test_a_file_that_holds_no_heads_is_refused(tmp_path, text):
    (tmp_path / HEADS).write_text(text)
    with pytest.raises(LedgerError, match="is not a file of ledger heads"):
        Heads((tmp_path,))


def test_a_folder_that_cannot_be_written_stops_the_run(kept, tmp_path):
    table, _ = kept
    (tmp_path / "file").write_text("")
    sums, _ = table.sums(run="run-2", heads=Heads((tmp_path / "file" / "run",)))
    changed = {name: value + 1 for name, value in to_arrays(build(table.study)).items()}
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        sums.over("evaluate", 1, changed)


def test_a_whole_run_leaves_heads_that_its_sites_are_verified_by(open_run):
    path = open_run.run.root / HEADS
    found = list(all_verified(open_run.run.root, path, None))
    assert len(found) >= 3
    assert all(one.is_sound and len(one.countersigned) == len(found) - 1 for one in found)
    assert (open_run.run.federation / HEADS).read_text() == path.read_text()
