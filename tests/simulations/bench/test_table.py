import io
import json
import re
from itertools import takewhile
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from simulations.bench.figures import Curve, Figure, Outcome, at_least, at_most, faster, share
from simulations.bench.machine import cpu_name, facts
from simulations.bench.table import document, machine_line, number, quantity, screen, summary_line

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "docs/schemas/bench.json").read_text(encoding="utf-8"))


def outcome(*figures, curves=()):
    machine = facts(["numpy", "no-such-distribution"])
    return Outcome("toy", "A toy", "Flower", machine, {"sites": [3]}, figures, curves)


def printed(found):
    console = Console(width=160, file=io.StringIO())
    console.print(screen(found))
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


EVERY = (
    faster("masks", {"sites": 10, "parameters": 1_000_000}, (0.14, 0.01), 12),
    faster("masks, slow", {"sites": 50, "parameters": 10}, (0.11, 0.01), 12),
    share("upload", {"sites": 10}, (4e6, 2.7e6), 0.67, unit="B"),
    at_most("ledger", {}, 0.004, 0.010),
    at_least("entropy", {}, 7.0, 8.0, unit="bits"),
    faster("decrypt", {"sites": 10}, (2.0, 1.0)),
    Figure("all models", {"model": "mean"}, "share", ratio=1.31, asked=1.45),
    Figure("CKKS", {"sites": 10}, "faster", tacit=0.01, asked=100, note="TenSEAL is missing."),
)
VERDICTS = ["met", "MISSED", "MISSED", "met", "MISSED", "reported", "met", "not measured"]


def test_each_kind_is_compared_its_own_way():
    assert [figure.verdict for figure in EVERY] == VERDICTS
    assert EVERY[0].ratio == pytest.approx(14)
    assert EVERY[2].ratio == pytest.approx(0.675)


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (faster("x", {}, (12.0, 1.0), 12), True),
        (faster("x", {}, (11.99, 1.0), 12), False),
        (share("x", {}, (1.0, 0.5), 0.5), True),
        (share("x", {}, (1.0, 0.5001), 0.5), False),
        (at_most("x", {}, 0.01, 0.01), True),
        (at_most("x", {}, 0.0101, 0.01), False),
        (at_least("x", {}, 1.0, 1.0), True),
        (at_least("x", {}, 0.99, 1.0), False),
        (at_least("x", {}, 0.99), None),
    ],
)
def test_nothing_is_rounded_in_favour_of_the_figure(figure, met):
    assert figure.met is met


def test_the_document_follows_the_committed_schema_and_is_json():
    curve = Curve("Tacit", "tacit", "parameters", "CPU", "s", ((1e4, 1e-4), (1e5, 1e-3)))
    made = json.loads(json.dumps(document(outcome(*EVERY, curves=[curve])), allow_nan=False))
    jsonschema.validate(made, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert made["summary"] == {"met": 3, "missed": 3, "reported": 1, "not_measured": 1}
    assert made["figures"][1]["verdict"] == "missed"
    assert made["figures"][7]["met"] is None
    assert made["curves"][0]["points"] == [[1e4, 1e-4], [1e5, 1e-3]]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda made: made.pop("machine"),
        lambda made: made["machine"].pop("cpu"),
        lambda made: made["figures"].clear(),
        lambda made: made["figures"][0].update(kind="better"),
        lambda made: made["figures"][0].update(ratio="14x"),
        lambda made: made["figures"][0].update(colour="red"),
        lambda made: made["summary"].pop("missed"),
        lambda made: made.update(version=2),
    ],
)
def test_the_schema_refuses_another_document(spoil):
    made = document(outcome(*EVERY))
    spoil(made)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(made, SCHEMA)


def test_the_table_says_it_in_words():
    shown = printed(outcome(*EVERY))
    below = re.split(r"\n ─+\n", shown)[1].splitlines()
    rows = list(takewhile(str.strip, below))
    ends = [next(word for word in VERDICTS if line.endswith(word)) for line in rows]
    assert ends == VERDICTS
    for heading in ("what", "sites", "parameters", "Flower", "Tacit", "ratio", "asked", "met"):
        assert re.search(rf"\b{heading}\b", shown)
    assert "1,000,000" in shown
    assert re.search(r"14\.0× +≥ 12× +met", shown)
    assert re.search(r"0\.675 +≤ 0\.670 +MISSED", shown)
    assert re.search(r"4 ms +– +≤ 10 ms +met", shown)
    assert "1) TenSEAL is missing." in shown
    assert "CKKS 1)" in shown
    assert "3 of 6 figures met, 3 missed, 1 not measured" in shown


def test_without_misses_the_summary_is_short():
    assert summary_line(outcome(EVERY[0])) == "1 of 1 figures met"


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (None, "s", "–"),
        (327.4, "s", "327 s"),
        (1.234, "s", "1.23 s"),
        (0.01234, "s", "12.3 ms"),
        (4.2e-6, "s", "4.20 µs"),
        (2_666_817, "B", "2.67 MB"),
        (417, "B", "417 B"),
        (0.0, "s", "0 s"),
        (3.2e-7, "relative", "3.2e-07 relative"),
        (1.5, "", "1.50"),
    ],
)
def test_a_quantity_takes_the_unit_of_its_size(value, unit, said):
    assert quantity(value, unit) == said


def test_numbers_keep_three_digits():
    assert [number(x) for x in (0.5, 14.72, 603.4, 1234.0, 0.0667)] == [
        "0.500",
        "14.7",
        "603",
        "1234",
        "0.0667",
    ]


def test_the_machine_is_named(tmp_path):
    found = facts(["numpy", "no-such-distribution"], "a GPU")
    assert found["cores"] >= 1
    assert found["packages"]["numpy"]
    assert found["packages"]["no-such-distribution"] == ""
    line = machine_line(found)
    assert "no-such-distribution" not in line
    assert "a GPU" in line
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n")
    assert cpu_name(path) == "Some CPU @ 2 GHz"
    assert cpu_name(tmp_path / "none")
