"""A broken run goes on from its last checkpoint, to the same model, never under-charged."""

import resource
import shutil
from collections import Counter

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import server.app
from client.locks import FileLocks
from common.errors import BudgetSpent, ConfigError, PrivacyError, Replayed, TacitError
from common.keys import new_identity, read_roster, write_roster
from common.models.registry import build
from common.parameters import model_hash, to_arrays
from common.privacy.ledger import read_ledger
from common.secagg import transcript
from server.checkpoint import CHECKPOINT, read_checkpoint
from server.following import progress
from simulations.studies import resume, simulate

OPEN = ("normalise=federated", "training.num_server_rounds=4")
SHARED = ("privacy.mode=distributed", "privacy.noise_multiplier=4.0", "privacy.target_epsilon=50")
MODES = {"without privacy": OPEN, "noise in shares": (*SHARED, "training.num_server_rounds=4")}


class Killed(BaseException):
    """The coordinator's process is gone; nothing of it catches this."""


class Kill:
    """Ends the coordinator at the n-th message of a kind: train.mask, query.confirm, …"""

    def __init__(self, kind, number):
        self.kind, self.left = kind, number

    def __call__(self, message):
        self.left -= (
            message.metadata.message_type == self.kind and not message.metadata.src_node_id > 1
        )
        if self.left == 0:
            raise Killed


@pytest.fixture
def kill_after(monkeypatch):
    """Ends the coordinator as soon as it has reported a round; None lets it live."""
    made = server.app._reporter

    def after(number):
        def reporter(folder):
            report = made(folder)

            def reported(line):
                report(line)
                if line["event"] == "round" and line["round"] == number:
                    raise Killed

            return reported

        monkeypatch.setattr(server.app, "_reporter", reporter)

    return after


@pytest.fixture
def broken(tiny_study, tiny_data, tmp_path, kill_after):
    """Plays a run that is killed; returns its folder."""

    def play(*pairs, tap=None, after=None):
        root = tmp_path / f"run-{len(list(tmp_path.glob('run-*')))}"
        kill_after(after)
        with pytest.raises(Killed):
            simulate(tiny_study(*pairs), tiny_data.root, root, reproducible=True, tap=tap)
        kill_after(None)
        return root

    return play


@pytest.fixture(scope="module")
def whole(run_tiny):
    return {name: run_tiny(*pairs, reproducible=True).run for name, pairs in MODES.items()}


def rounds(root):
    return [line["round"] for line in progress(root) if line["event"] == "round"]


def charges(root, site="hill"):
    """(what, round) -> how often it was charged."""
    view = read_ledger(root / "federation" / "sites" / site / "ledger.sqlite")
    first = [c.reservation for c in view.changes if c.seq == c.reservation.seq]
    return Counter((one.what, one.round) for one in first)


def equal_models(one, other):
    first, second = load_file(one), load_file(other)
    return set(first) == set(second) and all(np.array_equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("number", [1, 3])
def test_killed_after_a_round_it_ends_with_the_very_model_of_an_unbroken_run(
    broken, whole, mode, number
):
    root = broken(*MODES[mode], after=number)
    done = resume(root)
    assert equal_models(done.model, whole[mode].model)
    assert rounds(root) == [1, 2, 3, 4]
    assert charges(root) == charges(whole[mode].root)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["train.mask", "query.confirm", "query.unmask"])
def test_killed_within_a_round_it_ends_with_the_very_model_and_one_charge_more_at_most(
    broken, whole, mode, kind
):
    root = broken(*MODES[mode], tap=Kill(kind, 11))
    done = resume(root)
    assert equal_models(done.model, whole[mode].model)
    assert rounds(root) == [1, 2, 3, 4]
    more = charges(root) - charges(whole[mode].root)
    assert charges(whole[mode].root) - charges(root) == Counter()
    assert more.total() <= 1


def test_killed_while_keys_are_made_nothing_is_charged_more(broken, whole):
    root = broken(*OPEN, tap=Kill("query.share", 6))
    assert equal_models(resume(root).model, whole["without privacy"].model)
    assert charges(root) == charges(whole["without privacy"].root)


def test_it_may_break_off_again_and_again(broken, whole, kill_after):
    root = broken(*OPEN, tap=Kill("query.confirm", 6))
    for number in (2, 3):
        kill_after(number)
        with pytest.raises(Killed):
            resume(root)
    kill_after(None)
    assert equal_models(resume(root).model, whole["without privacy"].model)
    assert read_checkpoint(root / CHECKPOINT).resumed == 3


def test_on_a_full_disk_it_stops_and_goes_on_when_there_is_room(
    tiny_study, tiny_data, tmp_path, whole
):
    """No file can grow any more, at sites and coordinator alike, while round 2 is charged."""
    root, kill = tmp_path / "run", Kill("train.mask", 15)

    def fill(message):
        try:
            kill(message)
        except Killed:
            limit_files(1)

    try:
        with pytest.raises(TacitError, match=r"refused: the site's|cannot be written"):
            simulate(tiny_study(*OPEN), tiny_data.root, root, reproducible=True, tap=fill)
    finally:
        limit_files(resource.RLIM_INFINITY)
    done = resume(root)
    assert equal_models(done.model, whole["without privacy"].model)
    assert charges(root) - charges(whole["without privacy"].root) <= Counter({("training", 2): 1})


def limit_files(size):
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


def test_a_finished_run_that_is_taken_up_stays_what_it_is(broken, whole):
    root = broken(*OPEN, after=4)
    first = resume(root).model.read_bytes()
    assert resume(root).model.read_bytes() == first
    assert rounds(root) == [1, 2, 3, 4]


def test_a_round_that_was_not_reported_any_more_is_reported(broken):
    root = broken(*OPEN, after=2)
    path = root / "progress.jsonl"
    lines = path.read_text().splitlines()
    kept = [line for line in lines if '"round": 2' not in line]
    path.write_text("\n".join([*kept, '{"event": "rou']))
    resume(root)
    assert rounds(root) == [1, 2, 3, 4]


def test_an_altered_checkpoint_is_refused(broken):
    root = broken(*OPEN, after=2)
    path = root / CHECKPOINT
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="was altered since it was written"):
        resume(root)


def test_an_older_checkpoint_is_refused_by_the_coordinator(broken, tmp_path):
    older = tmp_path / "older"
    root = broken(*OPEN, after=1)
    shutil.copy2(root / CHECKPOINT, older)
    resume(root)
    shutil.copy2(older, root / CHECKPOINT)
    with pytest.raises(ConfigError, match="is an older copy: it ends with round"):
        resume(root)


def test_an_older_checkpoint_is_refused_by_the_sites_where_the_coordinator_forgot(broken, tmp_path):
    older = tmp_path / "older"
    root = broken(*OPEN, after=1)
    shutil.copy2(root / CHECKPOINT, older)
    resume(root)
    shutil.copy2(older, root / CHECKPOINT)
    (root / "progress.jsonl").unlink()
    before = charges(root)
    with pytest.raises(Replayed, match="this round was begun there before"):
        resume(root)
    assert charges(root) == before


def test_another_study_is_refused(broken):
    root = broken(*OPEN, after=2)
    text = (root / "study.yaml").read_text()
    (root / "study.yaml").write_text(text.replace("learning_rate: 0.1", "learning_rate: 0.2"))
    with pytest.raises(ConfigError, match="is of another study"):
        resume(root)


def test_another_roster_is_refused(broken):
    root = broken(*OPEN, after=2)
    path = root / "federation" / "roster.json"
    write_roster(path, {**read_roster(path), "hill": new_identity("hill").public_key})
    with pytest.raises(ConfigError, match="is of another roster"):
        resume(root)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not a checkpoint of a run"):
        resume(tmp_path)


def test_a_model_file_is_no_checkpoint(broken):
    root = broken(*OPEN, after=1)
    save_file({"w": np.zeros(2)}, root / CHECKPOINT)
    with pytest.raises(ConfigError, match="is not a checkpoint of a run"):
        resume(root)


def test_a_broken_round_is_charged_again_and_a_cap_without_room_for_it_holds(broken):
    pairs = ("privacy.mode=distributed", "training.num_server_rounds=2")
    root = broken(*pairs, tap=Kill("query.confirm", 2))
    with pytest.raises(BudgetSpent, match=r"cap of .* is met"):
        resume(root)


def locked_sum(lay_table):
    """A finished sum, and what it takes to ask for it again."""
    table = lay_table()
    model = to_arrays(build(table.study))
    sums, lines = table.sums()
    sums.over("evaluate", 1, model)
    return table, model, lines


def again(table, sites=None, run="run-1", number=1):
    sums, _ = table.sums(run=run)
    sums._attempts["evaluate"] = 1 << 16
    if sites:
        sums.exchange.meeting.nodes = {n: sums.exchange.meeting.nodes[n] for n in sites}
    return sums, number


def test_over_the_very_same_sites_a_sum_is_made_again_and_charged_again(lay_table):
    table, model, _ = locked_sum(lay_table)
    sums, number = again(table)
    assert sums.over("evaluate", number, model).contributors == table.sites
    changes = read_ledger(table.folder("hill") / "ledger.sqlite").changes
    assert len({one.reservation.seq for one in changes}) == 2


@pytest.mark.parametrize(
    "changed",
    [{"sites": ("harbour", "hill", "lake")}, {"run": "run-2"}, {"number": 2}],
    ids=["fewer sites", "another run", "another round"],
)
def test_over_other_sites_or_in_another_round_it_is_refused(lay_table, changed):
    """Guarantee: over one model a site never confirms two sets of sites."""
    table, model, _ = locked_sum(lay_table)
    sums, number = again(table, **changed)
    with pytest.raises(PrivacyError, match="would break a privacy guarantee there"):
        sums.over("evaluate", number, model)


def test_more_sites_than_before_are_refused_too(lay_table):
    table, three = lay_table(), ("harbour", "hill", "lake")
    model = to_arrays(build(table.study))
    first, _ = table.sums()
    first.exchange.meeting.nodes.pop("mill")
    first.exchange.meeting.there = lambda: three
    assert first.over("evaluate", 1, model).contributors == three
    sums, number = again(table)
    with pytest.raises(PrivacyError):
        sums.over("evaluate", number, model)


def test_a_model_that_was_locked_without_a_set_stays_locked(lay_table):
    """As after a crash between two of the locks, or by an older version."""
    table = lay_table()
    model = to_arrays(build(table.study))
    for site in table.sites:
        locks = FileLocks(table.folder(site) / "locks.log")
        locks.lock(transcript.model_lock("evaluate", model_hash(model)))
    with pytest.raises(PrivacyError):
        table.sums()[0].over("evaluate", 1, model)
