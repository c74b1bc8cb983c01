"""Flower's deployment engine on loopback: the same run over real SuperNodes, and one killed."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from flwr.app import Context, Message

import simulations.studies
from client.app import app as client_app
from common.wire import MESSAGE_TYPES
from simulations.flower import _carrying
from simulations.studies import RunFolder, simulate

SETTINGS = (
    "training.num_server_rounds=2",
    "training.evaluate_every=2",
    "secure_aggregation.rounds_per_key=1",
    "secure_aggregation.stage_timeout_s=400",
)
EVERY = ["harbour", "hill", "lake", "mill"]
SURVIVORS = ["harbour", "hill", "lake"]


@pytest.fixture
def marked(monkeypatch):
    """Processes that this test starts can be told by a variable in their environment."""
    mark = f"TACIT_TEST={os.getpid()}-{time.monotonic_ns()}"
    monkeypatch.setenv(*mark.split("="))
    return mark


def rounds(run: RunFolder) -> list[tuple[object, object]]:
    lines = [line for line in run.progress() if line["event"] == "round"]
    return [(line["sites"], line.get("metrics")) for line in lines]


def supernode(mark: str, number: int) -> int:
    """The process of one SuperNode."""
    for pid in _carrying(mark):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        is_node = any(word.endswith("flower-supernode") for word in command)
        if is_node and any(word.startswith(f"partition-id={number} ") for word in command):
            return pid
    raise ProcessLookupError(number)


def kill_after_a_round(run: RunFolder, mark: str, number: int) -> threading.Thread:
    """kill -9 one SuperNode as soon as the first round is reported."""

    def watch() -> None:
        while not rounds(run):
            time.sleep(0.1)
        os.kill(supernode(mark, number), signal.SIGKILL)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def lost_from_the_second_round(number: int):
    """The sites' app, but one site answers nothing from the second round's MASK on."""
    asked: list[str] = []

    def app(message: Message, context: Context) -> Message:
        if context.node_config["partition-id"] == number:
            asked.append(message.metadata.message_type)
            if asked.count(MESSAGE_TYPES["mask"]) > 1:
                raise RuntimeError
        return client_app(message, context)

    return app


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_run_over_supernodes_equals_the_run_in_process(
    tiny_data, tiny_study, run_tiny, marked, tmp_path
):
    """Three sites through to an evaluated model, bit for bit, and nothing stays behind."""
    data = tmp_path / "three"
    for site in SURVIVORS:
        shutil.copytree(tiny_data.root / "sites" / site, data / "sites" / site)
    run = simulate(tiny_study(*SETTINGS), data, tmp_path / "run", "supernodes")
    twin = run_tiny(*SETTINGS, data=data)
    assert [sites for sites, _ in rounds(run)] == [SURVIVORS] * 2
    assert rounds(run)[-1][1]["persons"] == 6  # a third of 18
    assert rounds(run) == rounds(twin.run)
    assert run.model.read_bytes() == twin.run.model.read_bytes()
    assert _carrying(marked) == []


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_killed_supernode_is_a_drop_out_and_the_run_goes_on(
    tiny_data, tiny_study, run_tiny, monkeypatch, marked, tmp_path
):
    """kill -9 between two rounds; the survivors' model is the one of such a run in process."""
    run = RunFolder(tmp_path / "run")
    killer = kill_after_a_round(run, marked, number=3)
    simulate(tiny_study(*SETTINGS), tiny_data.root, run.root, "supernodes")
    killer.join(1)
    monkeypatch.setattr(simulations.studies, "client_app", lost_from_the_second_round(3))
    twin = run_tiny(*SETTINGS)
    assert [sites for sites, _ in rounds(run)] == [EVERY, SURVIVORS]
    assert rounds(run) == rounds(twin.run)
    assert run.model.read_bytes() == twin.run.model.read_bytes()
    assert _carrying(marked) == []
