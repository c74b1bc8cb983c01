"""What a finished run leaves beside its model: a row a round, and a plot."""

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

from server.following import PROGRESS
from server.results import COLUMNS, PLOT, TABLE, write_results


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_a_row_a_round_and_the_same_plot_every_time(open_run, tmp_path: Path) -> None:
    lines = (open_run.run.root / PROGRESS).read_text()
    (tmp_path / PROGRESS).write_text(lines)
    assert write_results(tmp_path) == (tmp_path / TABLE, tmp_path / PLOT)
    found, plot = rows(tmp_path), (tmp_path / PLOT).read_bytes()
    reported = [json.loads(x) for x in lines.splitlines() if '"round"' in x.partition(",")[2]]
    reported = [line for line in reported if line["event"] == "round"]
    assert [int(row["round"]) for row in found] == [line["round"] for line in reported]
    assert [row["sites"].split() for row in found] == [line["sites"] for line in reported]
    uar = reported[-1]["metrics"]["uar"]
    last = found[-1]
    assert (last["figure"], float(last["value"])) == ("UAR", uar["value"])
    assert (float(last["low"]), float(last["high"])) == (uar["low"], uar["high"])
    assert ElementTree.fromstring(plot).tag.endswith("svg")
    write_results(tmp_path)
    assert (tmp_path / PLOT).read_bytes() == plot


def test_a_run_without_evaluation_leaves_a_table_alone(tmp_path: Path) -> None:
    line = {"event": "round", "round": 1, "sites": ["a", "b"], "missing": ["c"], "seconds": 0.25}
    (tmp_path / PROGRESS).write_text(json.dumps(line) + "\n")
    assert write_results(tmp_path) == (tmp_path / TABLE,)
    expected = dict.fromkeys(COLUMNS, "")
    expected |= {"round": "1", "sites": "a b", "missing": "c", "seconds": "0.250"}
    assert rows(tmp_path) == [expected]


def test_a_run_that_got_nowhere_leaves_nothing(tmp_path: Path) -> None:
    assert write_results(tmp_path) == ()
    assert list(tmp_path.iterdir()) == []
