import json
import math
import os
import shutil
import sqlite3
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.errors import BudgetSpent, LedgerError, OutOfOrder, PrivacyError
from common.privacy import accountant
from common.privacy.events import ExactThroughSecureSum, Gaussian, PoissonSampledGaussian
from common.privacy.ledger import Head, Ledger, Opening
from common.privacy.ledger.chain import START, checked_entry
from common.privacy.ledger.state import Replay

VECTORS = Path(__file__).parents[2] / "vectors" / "privacy"
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
STEP = PoissonSampledGaussian(0.25, 1.5, 1, "person")
STUDY = Opening("s", "person", 1e-3, 5.0, 8.0, 1e-3, fingerprint="ab")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with Ledger.open(path, site="north", clock=lambda: NOON) as opened:
        opened.open_study(STUDY)
        yield opened


def raw(path):
    """Another program that writes to the file."""
    return sqlite3.connect(path, isolation_level=None)


def test_a_new_ledger_is_its_owners_only(path, ledger):
    ledger.reserve("s", STEP, round=1)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_spending_adds_up_over_rounds_restarts_and_studies(path, ledger):
    for number in range(5):
        ledger.commit(ledger.reserve("s", STEP, round=number))
    ledger.close()
    with Ledger.open(path, site="north") as again:
        other = Opening("t", "person", 1e-3, 5.0, 8.0, 1e-3)
        again.open_study(other)
        again.commit(again.reserve("t", STEP, round=0))
        assert again.spent("person", 1e-3) == accountant.epsilon([STEP.with_steps(6)], 1e-3)
        assert again.spent("person", 1e-3, "s") == accountant.epsilon([STEP.with_steps(5)], 1e-3)
        accounts = again.studies()
        assert accounts["t"].epsilon == accountant.epsilon([STEP], 1e-3)
        assert accounts["t"].opening == other
        assert accounts["s"].events == (STEP.with_steps(5),)


def test_a_reserve_without_a_commit_counts_in_full(path, ledger):
    ledger.reserve("s", STEP.with_steps(10), round=1)
    ledger.close()
    with Ledger.open(path, site="north") as again:
        assert again.spent("person", 1e-3) == accountant.epsilon([STEP.with_steps(10)], 1e-3)
        assert [reservation.round for reservation in again.pending()] == [1]


def test_a_commit_gives_back_what_was_not_used(ledger):
    ledger.commit(ledger.reserve("s", STEP.with_steps(10), round=1), steps=4)
    assert ledger.spent("person", 1e-3) == accountant.epsilon([STEP.with_steps(4)], 1e-3)
    ledger.commit(ledger.reserve("s", STEP.with_steps(10), round=2), steps=0)
    assert ledger.events() == (STEP.with_steps(4),)


def test_a_commit_is_made_once_and_within_its_reserve(ledger):
    reservation = ledger.reserve("s", STEP.with_steps(3), round=1)
    for steps in (4, -1):
        with pytest.raises(LedgerError, match="cannot be committed"):
            ledger.commit(reservation, steps)
    ledger.commit(reservation, 3)
    with pytest.raises(LedgerError, match="not open for a commit"):
        ledger.commit(reservation, 3)


def test_the_studys_cap_is_enforced_before_anything_is_charged(ledger):
    steps = 1
    while accountant.epsilon([STEP.with_steps(steps + 1)], 1e-3) <= 5.0:
        steps += 1
    ledger.commit(ledger.reserve("s", STEP.with_steps(steps), round=1))
    head = ledger.head()
    with pytest.raises(BudgetSpent, match=r"study 's' may spend ε = 5 per person .* to ε = 5\.\d"):
        ledger.reserve("s", STEP, round=2)
    assert ledger.head() == head


def test_the_sites_cap_holds_over_all_studies(ledger):
    ledger.commit(ledger.reserve("s", STEP.with_steps(12), round=1))
    ledger.open_study(Opening("t", "person", 1e-3, 5.0, 2.5, 1e-3))
    for study in ("s", "t"):
        with pytest.raises(BudgetSpent, match=r"site 'north' may spend ε = 2\.5 per person"):
            ledger.reserve(study, STEP.with_steps(20), round=2)
    ledger.reserve("t", STEP, round=2)


def test_a_statistic_and_a_training_are_one_account(ledger):
    ledger.reserve("s", Gaussian(3.0, 2, "person"), round=0, what="feature statistics")
    ledger.reserve("s", STEP, round=0)
    expected = accountant.epsilon([Gaussian(3.0, 2, "person"), STEP], 1e-3)
    assert ledger.spent("person", 1e-3) == expected


def test_an_exact_release_costs_no_epsilon_and_is_listed(ledger):
    release = ExactThroughSecureSum("confusion counts", 20)
    ledger.commit(ledger.reserve("s", release, round=1, what="evaluation"))
    assert ledger.spent("person", 1e-3) == 0
    assert ledger.studies()["s"].exact == (release,)


def test_a_study_by_record_is_not_let_under_a_cap_by_person(ledger):
    ledger.open_study(Opening("r", "record", 1e-3, 5.0, 8.0, 1e-3))
    step = PoissonSampledGaussian(0.1, 2.0, 9, "record")
    with pytest.raises(BudgetSpent, match="ε = inf"):
        ledger.reserve("r", step, round=1)
    ledger.open_study(Opening("r", "record", 1e-3, 5.0, 8.0, 1e-3, records_per_person=2))
    ledger.reserve("r", step, round=1)
    assert ledger.spent("person", 1e-3) > ledger.spent("record", 1e-3)


def test_the_same_request_is_charged_once(ledger):
    ledger.reserve("s", STEP, round=1, run="r", attempt=2)
    with pytest.raises(OutOfOrder, match="entry 3 of the ledger already"):
        ledger.reserve("s", STEP, round=1, run="r", attempt=2)
    ledger.reserve("s", STEP, round=1, run="r", attempt=3)
    ledger.reserve("s", STEP, round=1, run="r", attempt=2, what="evaluation")


def test_a_study_must_be_opened(ledger):
    with pytest.raises(LedgerError, match="'unknown' was not opened"):
        ledger.reserve("unknown", STEP, round=1)


def test_opening_twice_writes_once_and_new_caps_count(ledger):
    head = ledger.head()
    ledger.open_study(STUDY)
    assert ledger.head() == head
    ledger.open_study(Opening("s", "person", 1e-3, 0.5, 8.0, 1e-3))
    with pytest.raises(BudgetSpent, match=r"ε = 0\.5"):
        ledger.reserve("s", STEP, round=1)


def test_a_sites_cap_that_is_put_back_is_in_force_again(ledger):
    raised = Opening("t", "person", 1e-3, 100.0, 100.0, 1e-3)
    ledger.open_study(raised)
    ledger.reserve("t", STEP.with_steps(200), round=1)
    assert ledger.spent("person", 1e-3) > STUDY.site_epsilon
    ledger.open_study(STUDY)
    head = ledger.head()
    with pytest.raises(BudgetSpent, match=r"site 'north' may spend ε = 8 "):
        ledger.reserve("s", STEP, round=1)
    assert ledger.head() == head


@pytest.mark.parametrize("terms", [("record", 1e-3), ("person", 1e-4)])
def test_a_study_cannot_change_what_its_epsilon_means(ledger, terms):
    with pytest.raises(PrivacyError, match="needs another name"):
        ledger.open_study(Opening("s", *terms, 5.0, 8.0, 1e-3))


@pytest.mark.parametrize(
    "changed",
    [
        {"study": ""},
        {"unit": "clip"},
        {"delta": 0.0},
        {"site_delta": 1.0},
        {"study_epsilon": math.nan},
        {"site_epsilon": -1.0},
        {"adjacency": "replace_one"},
    ],
)
def test_terms_that_mean_nothing_are_refused(changed):
    terms = {"study": "s", "unit": "person", "delta": 1e-3, "study_epsilon": 1.0}
    terms |= {"site_epsilon": 1.0, "site_delta": 1e-3}
    with pytest.raises(PrivacyError):
        Opening(**{**terms, **changed})


def test_a_study_without_caps_is_only_counted(ledger):
    ledger.open_study(Opening("free", "person", 1e-3, math.inf, math.inf, 1e-3))
    ledger.reserve("free", PoissonSampledGaussian(1.0, 0.0, 1, "person"), round=1)
    assert ledger.spent("person", 1e-3) == math.inf


def test_a_ledger_serves_one_site(path, ledger):
    ledger.close()
    with pytest.raises(LedgerError, match="belongs to site 'north', not 'south'"):
        Ledger.open(path, site="south")


def test_another_process_is_seen_at_once(path, ledger):
    with Ledger.open(path, site="north") as other:
        reservation = other.reserve("s", STEP.with_steps(3), round=1)
        assert ledger.spent("person", 1e-3) == accountant.epsilon([STEP.with_steps(3)], 1e-3)
        ledger.commit(reservation, 1)
        with pytest.raises(LedgerError, match="not open for a commit"):
            other.commit(reservation)
        assert other.head() == ledger.head()


def test_how_often_something_may_leave_holds_over_runs_and_processes(path, ledger):
    exact = ExactThroughSecureSum("counts", 5)
    counted = {"what": "counts", "most": 2}
    with Ledger.open(path, site="north") as other:
        ledger.reserve("s", exact, round=1, run="a", **counted)
        other.reserve("s", exact, round=1, run="b", **counted)
        head = ledger.head()
        for either in (ledger, other):
            with pytest.raises(BudgetSpent, match=r"'s' was charged 2 times for counts, .* most 2"):
                either.reserve("s", exact, round=2, run="a", **counted)
        assert ledger.head() == head
        ledger.reserve("s", exact, round=2, run="a", what="other counts", most=1)
        ledger.reserve("s", exact, round=2, run="a", what="counts", most=3)


def test_entries_tell_what_when_and_why(ledger):
    ledger.commit(ledger.reserve("s", STEP, round=4, run="r7", max_grad_norm=1.0, model_hash="cd"))
    kinds = [entry.kind for entry in ledger.entries()]
    assert kinds == ["genesis", "open", "reserve", "commit"]
    (reserve,) = (entry for entry in ledger.entries(after=2) if entry.kind == "reserve")
    assert reserve.body["event"]["noise_multiplier"] == 1.5
    assert reserve.body["at"] == "2026-01-02T12:00:00+00:00"
    assert (reserve.body["run"], reserve.body["round"], reserve.body["model_hash"]) == (
        "r7",
        4,
        "cd",
    )


def test_an_event_that_fails_leaves_nothing_behind(ledger):
    head = ledger.head()

    class Power(Exception):
        pass

    def cut():
        with ledger._turn():
            ledger._append("open", {"study": "x"} | OTHER)
            raise Power

    with pytest.raises(Power):
        cut()
    assert ledger.head() == head
    assert "x" not in ledger.studies()


OTHER = {
    "unit": "person",
    "delta": 1e-3,
    "study_epsilon": None,
    "site_epsilon": 1.0,
    "site_delta": 1e-3,
    "site_unit": "person",
    "fingerprint": "",
    "records_per_person": None,
    "adjacency": "add_or_remove_one",
}


# What the file itself refuses


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE entry SET body = '{}' WHERE seq = 2", "never updated"),
        ("DELETE FROM entry WHERE seq = 2", "never deleted"),
        ("DELETE FROM entry", "never deleted"),
        ("INSERT OR REPLACE INTO entry SELECT * FROM entry WHERE seq = 2", "extend the head"),
        ("REPLACE INTO entry SELECT seq, kind, '{}', prev, hash FROM entry", "extend the head"),
        ("INSERT INTO entry SELECT seq + 9, kind, body, prev, hash FROM entry", "extend the head"),
        ("INSERT INTO entry SELECT 4, kind, body, prev, hash FROM entry", "extend the head"),
        (
            "INSERT INTO entry (kind, body, prev, hash) SELECT kind, body, prev, hash FROM entry",
            "extend",
        ),
        ("INSERT INTO entry SELECT 4, kind, body, x'00', hash FROM entry", "extend|CHECK"),
        ("UPDATE OR REPLACE entry SET seq = 1 WHERE seq = 2", "never updated"),
        ("INSERT INTO entry VALUES ('x', 1, 2, 3, 4)", "extend|datatype|cannot store"),
    ],
)
def test_the_file_refuses_what_does_not_extend_the_head(path, ledger, statement, says):
    ledger.reserve("s", STEP, round=1)
    before = ledger.head()
    with pytest.raises(sqlite3.Error, match=says):
        raw(path).execute(statement)
    assert ledger.verify() == before


# What a check finds afterwards


def tampered(path, *statements):
    """Edit the file as somebody would who knows SQLite: triggers off, edit, triggers back."""
    database = raw(path)
    triggers = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
    triggers = triggers.fetchall()
    for name, _ in triggers:
        database.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        database.execute(statement)
    for _, sql in triggers:
        database.execute(sql)
    database.close()


@pytest.fixture
def filled(path):
    with Ledger.open(path, site="north") as ledger:
        ledger.open_study(STUDY)
        for number in range(4):
            ledger.commit(ledger.reserve("s", STEP, round=number))
    return path


EDITS = {
    "edited body": ("UPDATE entry SET body = replace(body, '1.5', '9.5') WHERE seq = 5", "entry 5"),
    "edited kind": ("UPDATE entry SET kind = 'commit' WHERE seq = 5", "entry 5 was altered"),
    "edited hash": ("UPDATE entry SET hash = zeroblob(32) WHERE seq = 5", "entry 5"),
    "removed in the middle": ("DELETE FROM entry WHERE seq = 5", "entry 5 is missing"),
    "removed at the start": ("DELETE FROM entry WHERE seq = 1", "entry 1 is missing"),
    "renumbered": ("UPDATE entry SET seq = 50 WHERE seq = 5", "entry 5 is missing"),
    "not JSON": ("UPDATE entry SET body = '{' WHERE seq = 5", "entry 5"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_found_and_the_first_bad_entry_named(filled, name):
    statement, says = EDITS[name]
    tampered(filled, statement)
    with pytest.raises(LedgerError, match=says):
        Ledger.open(filled, site="north")


def test_an_edit_behind_an_open_ledger_is_found_by_verify(filled):
    with Ledger.open(filled, site="north") as ledger:
        tampered(filled, EDITS["edited body"][0])
        with pytest.raises(LedgerError, match="entry 5"):
            ledger.verify()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DROP TRIGGER entry_is_never_updated", "'entry_is_never_updated' .* missing"),
        ("DROP TRIGGER entry_extends_the_head", "'entry_extends_the_head' .* missing"),
        ("CREATE TABLE more (x)", "'more' .* not ours"),
        ("CREATE INDEX quick ON entry (kind)", "'quick' .* not ours"),
        ("ALTER TABLE entry ADD COLUMN note TEXT", "'entry' .* altered"),
    ],
)
def test_a_changed_schema_is_refused(filled, statement, says):
    raw(filled).execute(statement)
    with pytest.raises(LedgerError, match=says):
        Ledger.open(filled, site="north")


def test_a_weaker_trigger_of_the_same_name_is_refused(filled):
    database = raw(filled)
    database.execute("DROP TRIGGER entry_is_never_deleted")
    database.execute(
        "CREATE TRIGGER entry_is_never_deleted BEFORE DELETE ON entry WHEN 0 BEGIN SELECT 1; END"
    )
    with pytest.raises(LedgerError, match=r"'entry_is_never_deleted' .* altered"):
        Ledger.open(filled, site="north")


def test_an_older_copy_put_back_is_refused_by_whoever_kept_the_head(filled, tmp_path):
    backup = tmp_path / "backup.sqlite"
    shutil.copy(filled, backup)
    with Ledger.open(filled, site="north") as ledger:
        ledger.reserve("s", STEP, round=10)
        kept = ledger.head()
    shutil.copy(backup, filled)
    with pytest.raises(LedgerError, match="older copy was put back"):
        Ledger.open(filled, site="north", kept_head=kept)
    with Ledger.open(filled, site="north") as ledger:
        ledger.reserve("s", STEP, round=11)
        with pytest.raises(LedgerError, match="older copy"):
            ledger.require(kept)


def test_a_head_that_the_ledger_extends_is_accepted(filled):
    with Ledger.open(filled, site="north") as ledger:
        kept = ledger.head()
        ledger.reserve("s", STEP, round=10)
        ledger.require(kept)
    with Ledger.open(filled, site="north", kept_head=kept) as ledger:
        assert ledger.head().seq == kept.seq + 1
        ledger.require(Head(0, START.hex()))


def test_a_truncated_ledger_is_refused_by_whoever_kept_the_head(filled):
    with Ledger.open(filled, site="north") as ledger:
        kept = ledger.head()
    tampered(filled, "DELETE FROM entry WHERE seq > 5")
    with pytest.raises(LedgerError, match="ends at entry 5"):
        Ledger.open(filled, site="north", kept_head=kept)


# The file as such


def test_others_may_not_read_it(filled):
    filled.chmod(0o644)
    with pytest.raises(LedgerError, match="chmod 600"):
        Ledger.open(filled, site="north")


def test_a_read_only_ledger_is_refused_before_any_data_is_read(filled):
    filled.chmod(0o400)
    with pytest.raises(LedgerError, match=r"read-only|cannot be opened for writing"):
        Ledger.open(filled, site="north")


def test_a_ledger_in_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(LedgerError, match="cannot be opened"):
        Ledger.open(tmp_path / "no" / "ledger.sqlite", site="north")


def test_another_file_is_not_taken_for_a_ledger(tmp_path):
    text = tmp_path / "text"
    text.write_text("not a database at all, but long enough to be read as one" * 20)
    text.chmod(0o600)
    with pytest.raises(LedgerError, match="not a ledger"):
        Ledger.open(text, site="north")
    other = tmp_path / "other"
    raw(other).execute("CREATE TABLE things (x)")
    other.chmod(0o600)
    with pytest.raises(LedgerError, match="no ledger"):
        Ledger.open(other, site="north")


def test_a_newer_ledger_is_refused(filled):
    raw(filled).execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match="newer"):
        Ledger.open(filled, site="north")


def test_damage_to_the_file_is_found(filled):
    content = bytearray(filled.read_bytes())
    place = content.index(b'"noise_multiplier"')
    content[place + 20] ^= 1
    filled.write_bytes(content)
    with pytest.raises(LedgerError, match=r"entry \d+ was altered"):
        Ledger.open(filled, site="north")


def test_an_open_ledger_does_not_cross_a_fork(ledger, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(LedgerError, match="fork"):
        ledger.reserve("s", STEP, round=1)


# Golden vectors


def rows(lines):
    for line in lines:
        row = json.loads(line)
        yield (
            row["seq"],
            row["kind"],
            row["body"],
            bytes.fromhex(row["prev"]),
            bytes.fromhex(row["hash"]),
        )


def replayed(lines):
    replay = Replay()
    for row in rows(lines):
        replay.apply(checked_entry(replay.head, row))
    return replay


def test_the_golden_ledger_means_what_it_meant():
    replay = replayed((VECTORS / "ledger.jsonl").read_text().splitlines())
    assert replay.head == Head(
        7, "3f1183b34f39258189b7546bc11993be37148b6805ad67f340f7a340506a2139"
    )
    assert replay.site == "north"
    assert set(replay.events()) == {
        PoissonSampledGaussian(0.25, 1.5, 7, "person"),
        ExactThroughSecureSum("confusion counts", 20),
    }
    assert list(replay.pending) == [5]


BAD = json.loads((VECTORS / "bad_ledgers.json").read_text())


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_ledger_is_refused_and_the_entry_named(name):
    with pytest.raises(LedgerError, match=BAD[name]["says"]):
        replayed(BAD[name]["lines"])


# Any order of operations


class Operations(RuleBasedStateMachine):
    """The ledger against a plain list of charges, through restarts and two open handles."""

    def __init__(self):
        super().__init__()
        import tempfile

        self.folder = tempfile.mkdtemp()
        self.path = Path(self.folder) / "ledger.sqlite"
        self.handles = [self.opened(), self.opened()]
        self.handles[0].open_study(Opening("s", "person", 1e-3, math.inf, math.inf, 1e-3))
        self.charges = {}
        self.waiting = []
        self.round = 0

    def opened(self):
        return Ledger.open(self.path, site="north")

    @rule(which=st.integers(0, 1), steps=st.integers(0, 9), sigma=st.sampled_from([1.0, 2.0]))
    def reserve(self, which, steps, sigma):
        event = PoissonSampledGaussian(0.5, sigma, steps, "person")
        self.round += 1
        reservation = self.handles[which].reserve("s", event, round=self.round)
        self.charges[reservation.seq] = (sigma, steps)
        self.waiting.append(reservation)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 1), share=st.floats(0, 1))
    def commit(self, which, share):
        reservation = self.waiting.pop()
        sigma, steps = self.charges[reservation.seq]
        taken = int(share * steps)
        self.handles[which].commit(reservation, taken)
        self.charges[reservation.seq] = (sigma, taken)

    @rule(which=st.integers(0, 1))
    def restart(self, which):
        self.handles[which].close()
        self.handles[which] = self.opened()

    @invariant()
    def the_account_is_the_sum_of_the_charges(self):
        for handle in self.handles:
            found = {event.noise_multiplier: event.steps for event in handle.events()}
            for sigma in (1.0, 2.0):
                expected = sum(steps for other, steps in self.charges.values() if other == sigma)
                assert found.get(sigma, 0) == expected

    def teardown(self):
        for handle in self.handles:
            handle.verify()
            handle.close()
        shutil.rmtree(self.folder)


TestOperations = Operations.TestCase
TestOperations.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)
