"""What has to stand before a run is submitted: a free folder, enough sites, their nodes' keys."""

import json
import socket
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

import server.coordinator.nodes
import server.coordinator.runs
from common.cards import SiteCard, write_site_card
from common.errors import ConfigError, EnvironmentFault, TooFewSites
from common.secagg.channel import Identity
from common.settings import load_study
from server.checkpoint import alone
from server.coordinator.folder import enrol, init_coordinator
from server.coordinator.nodes import (
    await_superlink,
    command_line,
    forget_registrations,
    register,
)
from server.coordinator.runs import ASKED, Asked, Waiting, resume, submit
from server.flwr_cli import RunFailed
from server.following import PROGRESS, Follower


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    init_coordinator(tmp_path / "hub", "hub", "hub.example:8443", datetime.now(UTC), port)
    return tmp_path / "hub"


@pytest.fixture
def superlink(hub: Path):
    """Somebody listens where the SuperLink should."""
    port = json.loads((hub / "port.json").read_text())["superlink"]
    with socket.create_server(("127.0.0.1", port)) as server:
        yield server


class Registrar:
    """In the place of Flower's command line: keeps who was registered."""

    def __init__(self, fails_at: str = "") -> None:
        self.known: dict[str, str] = {}
        self._fails_at = fails_at

    def register(self, public: Path, name: str) -> None:
        if name == self._fails_at:
            raise EnvironmentFault(f"The node of {name} was not registered.")
        self.known[name] = public.read_text().strip()


def enrolled(hub: Path, *names: str, node_key: str = "ecdsa AAAA") -> None:
    for name in names:
        identity = Identity(name, name.ljust(32).encode())
        path = hub.parent / f"{name}.json"
        write_site_card(path, SiteCard(name, identity.public_key, node_key), identity)
    enrol(hub, [hub.parent / f"{name}.json" for name in names])


def test_every_enrolled_node_is_registered_once(hub: Path, superlink) -> None:
    enrolled(hub, "north", "south")
    first, second = Registrar(), Registrar()
    register(hub, first)
    register(hub, second)
    assert first.known == {"north": "ecdsa AAAA", "south": "ecdsa AAAA"}
    assert second.known == {}


def test_a_site_that_is_new_or_has_a_new_node_key_is_registered(hub: Path, superlink) -> None:
    enrolled(hub, "north", "south")
    register(hub, Registrar())
    enrolled(hub, "south", node_key="ecdsa BBBB")
    enrolled(hub, "west")
    later = Registrar()
    register(hub, later)
    assert later.known == {"south": "ecdsa BBBB", "west": "ecdsa AAAA"}


def test_a_refusal_in_between_forgets_nothing_that_went_well(hub: Path, superlink) -> None:
    enrolled(hub, "north", "south")
    with pytest.raises(EnvironmentFault, match="south was not registered"):
        register(hub, Registrar(fails_at="south"))
    later = Registrar()
    register(hub, later)
    assert list(later.known) == ["south"]


def test_nodes_are_registered_anew_where_the_superlinks_database_is_gone(hub, superlink) -> None:
    enrolled(hub, "north")
    (hub / "superlink.db").touch()
    register(hub, Registrar())
    forget_registrations(hub)
    kept, later = Registrar(), Registrar()
    register(hub, kept)
    (hub / "superlink.db").unlink()
    forget_registrations(hub)
    register(hub, later)
    assert (kept.known, later.known) == ({}, {"north": "ecdsa AAAA"})


@pytest.fixture
def waited(tmp_path):
    """A run that is waited for at a clock of the test's own, and what was said of it."""
    now, notes = [0.0], []
    waiting = Waiting(
        Follower(tmp_path, lambda _: None), notes.append, tmp_path / "log", lambda: now[0]
    )

    def at(seconds: float) -> list[str]:
        now[0] = seconds
        assert not waiting()
        return [note["text"] for note in notes]

    return at


def test_a_run_that_nobody_takes_up_is_said_once(waited, tmp_path) -> None:
    said = f"nobody has taken the run up for 60 s; see {tmp_path / 'log'}"
    assert [waited(59), waited(61), waited(200)] == [[], [said], [said]]


def test_a_run_that_is_played_is_not_said_to_wait(waited, tmp_path) -> None:
    with alone(tmp_path):
        assert waited(61) == []


def test_a_run_that_has_reported_is_not_said_to_wait(waited, tmp_path) -> None:
    (tmp_path / PROGRESS).write_text('{"event": "started", "sites": []}\n')
    assert [waited(59), waited(61)] == [[], []]


def test_a_superlink_that_does_not_answer_is_said(hub: Path, monkeypatch) -> None:
    monkeypatch.setattr(server.coordinator.nodes, "START_TIMEOUT_S", 0.3)
    with pytest.raises(EnvironmentFault, match=r"does not answer: tacit coordinator start"):
        await_superlink(hub)


def test_a_superlink_that_answers_is_gone_on_with(hub: Path, superlink, monkeypatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(server.coordinator.nodes.time, "sleep", slept.append)
    await_superlink(hub)
    assert slept == []


def test_too_few_sites_are_no_run_and_leave_no_folder(hub: Path, tmp_path: Path) -> None:
    enrolled(hub, "north", "south")
    with pytest.raises(TooFewSites, match="2 sites are enrolled; the study needs 3"):
        submit(hub, load_study("demo"), Asked("demo"), tmp_path / "out", lambda _: None)
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_not_written_to(hub: Path, tmp_path: Path) -> None:
    enrolled(hub, "north", "south", "west")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model").write_text("of another run")
    with pytest.raises(ConfigError, match="is not empty"):
        submit(hub, load_study("demo"), Asked("demo"), tmp_path / "out", lambda _: None)
    assert not (tmp_path / "out" / ASKED).exists()


def test_a_run_whose_process_died_says_how_to_take_it_up(hub: Path, tmp_path, monkeypatch) -> None:
    enrolled(hub, "north", "south", "west")
    out = tmp_path / "out"

    def play(flwr, run_config, watch) -> None:
        with alone(out):
            assert not watch()
        watch()

    monkeypatch.setattr(server.coordinator.runs, "register", lambda *_: None)
    monkeypatch.setattr(server.coordinator.runs, "play", play)
    with pytest.raises(RunFailed, match=f"tacit coordinator resume {hub} {out}"):
        submit(hub, load_study("demo"), Asked("demo"), out, lambda _: None)


def test_a_run_that_is_still_played_is_not_taken_up(hub: Path, tmp_path, monkeypatch) -> None:
    out = tmp_path / "out"
    with alone(out):
        (out / ASKED).write_text(json.dumps(vars(Asked("demo"))))
        monkeypatch.setattr(server.coordinator.runs, "alone", partial(alone, wait_s=0.0))
        with pytest.raises(EnvironmentFault, match="still works on the run"):
            resume(hub, out, lambda _: None)


def test_the_command_line_is_told_to_trust_this_coordinators_authority_alone(hub: Path) -> None:
    command_line(hub)
    text = (hub / "flower-cli" / "config.toml").read_text()
    assert f'root-certificates = "{hub}/ca.crt"' in text
    assert "insecure" not in text
    assert list((hub / "flower-cli" / "empty").iterdir()) == []
