"""The ledger's benchmark: what it measures, at small sizes; at full size it is slow."""

import pytest

from common.privacy.ledger import read_ledger
from simulations.bench.ledger import measure_ledger, random_history, write_long


def test_every_figure_asked_is_measured():
    figures = measure_ledger(entries=300, histories=2)
    assert {figure.verdict for figure in figures} <= {"met", "MISSED"}
    asked = {figure.what: figure.asked for figure in figures}
    assert asked["ledger: reserve + commit, durable, median"] == 0.010
    assert asked["ledger: verify, CPU"] == 3.0
    assert asked["ledger: ε query, one key, CPU"] == 0.1
    assert asked["ε of the ledger above dp-accounting's PLD"] == 0.01
    assert asked["ε of the ledger below dp-accounting's PLD"] == 0.0


def test_the_long_ledger_is_a_true_one(tmp_path):
    write_long(tmp_path / "l", 41)
    view = read_ledger(tmp_path / "l")
    assert view.head.seq == 41
    assert sum(event.steps for event in view.events()) == 20


def test_histories_differ_and_repeat():
    assert random_history(3) == random_history(3)
    assert len({tuple(random_history(seed)) for seed in range(20)}) == 20


@pytest.mark.slow
def test_epsilon_is_never_below_and_within_one_per_cent_on_two_hundred_histories():
    figures = {figure.what: figure for figure in measure_ledger(entries=100_000)}
    for what in ("above", "below"):
        assert figures[f"ε of the ledger {what} dp-accounting's PLD"].met
    assert figures["ledger: verify, CPU"].met
