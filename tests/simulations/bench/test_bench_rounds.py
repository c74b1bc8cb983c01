"""`tacit bench round`: what is taken from a run's progress, and one whole run in this process."""

import json
from pathlib import Path

import jsonschema
import pytest

from simulations.bench import rounds
from simulations.bench.rounds import Plan, Spent, figures, measure, run, spent
from simulations.bench.table import document, screen

ROOT = Path(__file__).resolve().parents[3]
LINES = [
    {"event": "started", "time": 100.0},
    {"event": "note", "time": 101.0},
    {"event": "round", "time": 110.0, "seconds": 8.0},
    {"event": "round", "time": 113.0, "seconds": 3.0},
    {"event": "round", "time": 118.0, "seconds": 5.0},
    {"event": "round", "time": 128.0, "seconds": 10.0},
]


def test_the_first_and_the_last_round_are_not_steady() -> None:
    assert spent(LINES) == Spent(10.0, 4.0)


def test_overhead_is_what_a_steady_round_takes_beyond_its_work() -> None:
    found = {f.what: f for f in figures(Plan(), Spent(1, 1.0), Spent(5, 4.0), Spent(20, 9.0))}
    overhead = found["a steady round's overhead"]
    assert (overhead.baseline, overhead.tacit, overhead.ratio) == (8.0, 3.0, 0.375)
    assert overhead.verdict == "met"
    late = figures(Plan(), Spent(1, 1.0), Spent(5, 5.1), Spent(20, 9.0))[2]
    assert late.verdict == "MISSED"


def test_the_study_is_played_whole_and_follows_the_schema(monkeypatch) -> None:
    """All three ways in this process: what is checked is the way there, not the figures."""
    monkeypatch.setattr(
        rounds,
        "run_over_supernodes",
        lambda n, c, watch, with_runner=True: rounds._in_process(n, c),
    )
    said: list[str] = []
    outcome = run(Plan(sites=3, rounds=3), said.append)
    assert said == ["in one process", "with the runner", "Flower's processes"]
    schema = json.loads((ROOT / "docs/schemas/bench.json").read_text(encoding="utf-8"))
    jsonschema.validate(document(outcome), schema)
    assert screen(outcome)
    assert all(one.steady_s > 0 for one in [measure(Plan(3, 3), rounds._in_process)])


def test_a_run_that_fails_is_no_figure(monkeypatch) -> None:
    def fails(number: int, config: object) -> None:
        raise RuntimeError("ended")

    with pytest.raises(RuntimeError, match="ended"):
        measure(Plan(), fails)
