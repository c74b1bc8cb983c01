"""What a runner says of itself: the board, the health service, the site's log, the commands."""

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner

import tacit
from client.site.folder import Wishes, init_site
from client.site.health import ask_status, is_serving, serve_health
from client.site.processes import group_of, ports_of
from client.site.running import reporter
from client.site.status import Board, Status, from_json, to_json
from common.errors import ConfigError, EnvironmentFault
from common.privacy.events import PoissonSampledGaussian
from common.privacy.ledger import Ledger, Opening

FIRST = Status("north", 7, 100.0)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def site(tmp_path: Path, port: int) -> Path:
    init_site(tmp_path / "north", Wishes("north", 40, max_epsilon=8.0, first_port=port - 1))
    return tmp_path / "north"


def test_an_answer_says_study_and_round_and_what_says_neither_leaves_them() -> None:
    board = Board(FIRST)
    board.note("answered", "train.mask", "demo", 3)
    board.note("answered", "query.hello", "demo")
    board.note("idle", "")
    found = board.read()
    assert (found.study, found.round, found.stage) == ("demo", 3, "query.hello")
    assert (found.doing, found.answered, found.refused) == ("ready", 2, 0)
    assert found.last_contact > found.started


def test_another_study_begins_without_a_round() -> None:
    board = Board(FIRST)
    board.note("answered", "train.mask", "demo", 3)
    board.note("answered", "query.hello", "other")
    assert (board.read().study, board.read().round) == ("other", 0)


def test_waiting_is_no_contact_and_a_refusal_is_counted() -> None:
    board = Board(FIRST)
    board.note("waiting", "ConnectError")
    assert board.read().last_contact == 0
    assert board.read().doing == "waiting for the SuperNode (ConnectError)"
    board.note("bundle refused", "a" * 64)
    assert (board.read().doing, board.read().refused) == ("bundle refused", 1)


def test_a_status_reads_back_and_what_is_none_does_not() -> None:
    assert from_json(to_json(FIRST)) == FIRST
    for raw in (b"", b"[]", b"{}", b'{"site": "x", "pid": 1, "started": 1, "patients": 3}'):
        with pytest.raises((ValueError, TypeError)):
            from_json(raw)


def test_the_health_service_answers_on_the_loopback_until_it_stops(port: int) -> None:
    board = Board(FIRST)
    server = serve_health(port, board.read)
    try:
        assert is_serving(port)
        assert ask_status(port) == FIRST
        board.note("answered", "train.mask", "demo", 2)
        assert ask_status(port).round == 2
    finally:
        server.stop(grace=None).wait()
    assert not is_serving(port)
    assert ask_status(port) is None


def test_a_port_that_is_taken_is_said(port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(EnvironmentFault, match=f"Port {port} is taken"):
            serve_health(port, lambda: FIRST)


def test_somebody_else_at_the_port_has_no_status(port: int) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        assert ask_status(port) is None
        assert not is_serving(port)
    finally:
        server.stop(grace=None).wait()


def test_what_goes_wrong_stands_in_the_sites_log_and_what_goes_well_does_not(site: Path) -> None:
    report = reporter(site, Board(FIRST))
    for event in ("idle", "waiting", "answered"):
        report(event, "x")
    assert not (site / "site.log").exists()
    report("bundle refused", "a" * 64)
    line = json.loads((site / "site.log").read_text())
    assert (line["event"], line["detail"]) == ("bundle refused", "a" * 64)


def test_a_log_that_cannot_be_written_does_not_end_the_runner(site: Path) -> None:
    (site / "site.log").mkdir()
    board = Board(FIRST)
    reporter(site, board)("failed", "ValueError")
    assert board.read().refused == 1


def test_ports_are_those_of_the_folder(site: Path, port: int) -> None:
    assert ports_of(site).health == port == ports_of(site).runtime + 1
    (site / "ports.json").write_text('{"runtime": "x"}')
    with pytest.raises(ConfigError, match="two port numbers"):
        ports_of(site)
    with pytest.raises(ConfigError, match="not a site's folder"):
        ports_of(site / "systemd")


def test_a_site_that_trusts_nobody_is_not_started(site: Path) -> None:
    with pytest.raises(ConfigError, match="tacit site trust first"):
        group_of(site)


def spend(site: Path) -> None:
    with Ledger.open(site / "ledger.sqlite", site="north") as ledger:
        ledger.open_study(Opening("demo", "person", 1e-3, 5.0, 8.0, 1e-3))
        step = PoissonSampledGaussian(0.25, 2.0, 10, "person")
        ledger.commit(ledger.reserve("demo", step, round=1, run="r"))


def test_status_shows_study_round_contact_and_what_is_left(site, port, monkeypatch) -> None:
    spend(site)
    monkeypatch.setenv("COLUMNS", "120")
    board = Board(Status("north", os.getpid(), 100.0))
    board.note("answered", "train.mask", "demo", 3)
    server = serve_health(port, board.read)
    try:
        done = CliRunner().invoke(tacit.app, ["site", "status", str(site)])
    finally:
        server.stop(grace=None).wait()
    assert done.exit_code == 0
    words = " ".join(done.output.replace("│", " ").split())
    assert "study, round demo, 3" in words
    assert "last stage train.mask" in words
    assert "budget left, demo ε" in words
    assert "of 5.00" in words
    assert "of 8.00" in words


def test_status_of_a_runner_that_does_not_answer_fails(site: Path) -> None:
    done = CliRunner().invoke(tacit.app, ["site", "status", str(site)])
    assert done.exit_code == 1
    assert "does not answer: tacit site start" in " ".join(done.output.split())
