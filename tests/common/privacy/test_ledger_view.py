"""Reading a ledger without writing: the same account, and nothing changed."""

from datetime import UTC, datetime

import pytest

from common.errors import LedgerError
from common.privacy.events import PoissonSampledGaussian
from common.privacy.ledger import Head, Ledger, Opening, read_ledger

STEP = PoissonSampledGaussian(0.25, 1.5, 4, "person")
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path, site="north", clock=lambda: NOON) as ledger:
        ledger.open_study(Opening("s", "person", 1e-3, 50.0, 80.0, 1e-3))
        ledger.commit(ledger.reserve("s", STEP, round=1), steps=3)
        ledger.reserve("s", STEP, round=2)
    return path


def test_it_says_what_the_ledger_says(path):
    view = read_ledger(path)
    with Ledger.open(path, site="north") as ledger:
        assert view.head == ledger.head()
        assert view.events() == ledger.events()
        assert view.spent("person", 1e-3) == ledger.spent("person", 1e-3)
        assert view.studies() == ledger.studies()
        assert tuple(view.replay.pending.values()) == ledger.pending()


def test_changes_add_up_to_what_was_spent(path):
    view = read_ledger(path)
    assert [(c.seq, c.steps) for c in view.changes] == [(3, 4), (4, -1), (5, 4)]
    assert {c.at for c in view.changes} == {NOON.isoformat(timespec="seconds")}
    assert sum(c.steps for c in view.changes) == sum(e.steps for e in view.events())


def test_no_ledger_is_founded_by_reading(tmp_path):
    with pytest.raises(LedgerError, match="no ledger to read"):
        read_ledger(tmp_path / "none.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_a_head_that_it_does_not_hold_is_refused_with_its_number(path):
    view = read_ledger(path)
    view.require(view.head)
    view.require(Head(0, ""))
    for head, entry in ((Head(9, "ab" * 32), 6), (Head(2, "ab" * 32), 2)):
        with pytest.raises(LedgerError, match="older copy") as refused:
            view.require(head)
        assert refused.value.entry == entry


def test_a_writer_at_work_is_no_hindrance(path):
    with Ledger.open(path, site="north") as ledger, ledger._turn():
        assert read_ledger(path).head.seq == 5
