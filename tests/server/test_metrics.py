"""What Prometheus and TensorBoard get of a run: sums and names of sites, line by line."""

import json
import re
import socket
import urllib.request
from pathlib import Path

import pytest

import server.metrics
from common.affect.described import read_described
from common.affect.figures import headline
from common.errors import ConfigError, EnvironmentFault
from server.following import progress
from server.metrics import PROMETHEUS, TENSORBOARD, Metrics, measured

pytest.importorskip("prometheus_client")
pytest.importorskip("tensorboard")

LINE = {
    "event": "round",
    "round": 2,
    "sites": ["hill", "mill"],
    "missing": ["lake"],
    "seconds": 1.5,
}


def text(folder: Path) -> dict[str, float]:
    lines = (folder / PROMETHEUS).read_text().splitlines()
    return {k: float(v) for k, v in (x.rsplit(" ", 1) for x in lines if not x.startswith("#"))}


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / TENSORBOARD))
    found.Reload()
    return {
        tag: [(one.step, one.value) for one in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def test_a_round_is_in_the_text_and_on_the_board(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, "demo")
    assert list(tmp_path.iterdir()) == []
    metrics({"event": "started", "sites": ["hill"]})
    metrics({**LINE, "round": 1, "missing": []})
    metrics(LINE)
    metrics.close()
    assert text(tmp_path) == {
        'tacit_round{study="demo"}': 2,
        'tacit_contributors{study="demo"}': 2,
        'tacit_missing{study="demo"}': 1,
        'tacit_seconds{study="demo"}': 1.5,
        'tacit_finished{study="demo"}': 0,
        'tacit_site_present{site="hill",study="demo"}': 1,
        'tacit_site_present{site="mill",study="demo"}': 1,
        'tacit_site_present{site="lake",study="demo"}': 0,
    }
    assert scalars(tmp_path)["run/contributors"] == [(1, 2.0), (2, 2.0)]
    assert scalars(tmp_path)["run/missing"] == [(1, 0.0), (2, 1.0)]


def test_a_whole_runs_figures_are_those_that_it_reported_and_no_others(open_run, tmp_path) -> None:
    metrics, lines = Metrics(tmp_path, "tiny"), progress(open_run.run.root)
    for line in lines:
        metrics(line)
    metrics.close()
    found, board = text(tmp_path), scalars(tmp_path)
    rounds = [line for line in lines if line["event"] == "round"]
    uar = headline(read_described(rounds[-1]))
    assert uar.name == "UAR"
    assert found['tacit_figure{name="UAR",study="tiny"}'] == pytest.approx(uar.value)
    assert found['tacit_finished{study="tiny"}'] == 1
    assert [step for step, _ in board["run/seconds"]] == [1, 2, 3, 4]
    names = {re.match(r"[a-z_]+", key)[0] for key in found}
    known = {"round", "contributors", "missing", "seconds", "finished", "figure", "site_present"}
    assert names == {f"tacit_{name}" for name in known}
    assert set(board) == {"run/round", "run/contributors", "run/missing", "run/seconds", "run/UAR"}


def test_a_port_answers_prometheus_on_the_loopback_until_the_end(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told: list[object] = []
    with measured(tmp_path, "demo", told.append, is_on=False, port=port) as watch:
        watch(LINE)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert b'tacit_round{study="demo"} 2.0' in answer.read()
        with pytest.raises(EnvironmentFault, match=f"Port {port} is taken"):
            Metrics(tmp_path, "demo", port)
    assert told == [LINE]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 5)


def test_without_being_asked_nothing_is_written(tmp_path: Path) -> None:
    told: list[object] = []
    with measured(tmp_path, "demo", told.append, is_on=False, port=0) as watch:
        watch(LINE)
    assert json.dumps(told) == json.dumps([LINE])
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_is_missing_says_how_to_get_it(tmp_path: Path, monkeypatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(server.metrics, "import_module", missing)
    with pytest.raises(ConfigError, match=r"pip install 'tacit\[metrics\]'"):
        Metrics(tmp_path, "demo")
