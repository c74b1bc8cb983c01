"""Killed processes, processes at once, and a disk that is full: never an under-count."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.errors import LedgerError
from common.privacy.events import PoissonSampledGaussian
from common.privacy.ledger import Ledger, Opening

ROOT = Path(__file__).parents[3]
START = """
import resource, signal, sys
from pathlib import Path
from common.errors import LedgerError
from common.privacy.events import PoissonSampledGaussian
from common.privacy.ledger import Ledger, Opening

path, name, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
step = PoissonSampledGaussian(0.01, 5.0, 3, "person")


def tell(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()


tell("ready")
sys.stdin.readline()
"""
OPEN = """
ledger = Ledger.open(path, site="north")
ledger.open_study(Opening("s", "person", 1e-5, float("inf"), float("inf"), 1e-5))
"""
SPEND = """
for number in range(rounds):
    reservation = ledger.reserve("s", step, round=number, run=name)
    for _ in range(2):
        tell("released")
    ledger.commit(reservation, 2)
tell("done")
"""
FILL = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
try:
    for number in range(rounds):
        reservation = ledger.reserve("s", step, round=number, run=name)
        tell("released")
        ledger.commit(reservation, 1)
except LedgerError as error:
    tell("refused", error)
tell("done")
"""


KILL = """
import os, random, time

draw = random.Random(int(name))
for number in range(rounds):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        ledger = Ledger.open(path, site="north")
        ledger.open_study(Opening("s", "person", 1e-5, float("inf"), float("inf"), 1e-5))
        for turn in range(100_000):
            reservation = ledger.reserve("s", step, round=turn, run=f"{name} {number}")
            for _ in range(2):
                os.write(writer, b"r")
            ledger.commit(reservation, 2)
    os.close(writer)
    time.sleep(draw.uniform(0, 0.08))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    released = 0
    while chunk := os.read(reader, 65536):
        released += len(chunk)
    os.close(reader)
    with Ledger.open(path, site="north") as after:
        tell("killed", released, sum(event.steps for event in after.events()))
"""


def started(script, path, name, rounds):
    return subprocess.Popen(
        [sys.executable, "-c", START + script, str(path), name, str(rounds)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def go(process):
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()


def counted(path):
    with Ledger.open(path, site="north") as ledger:
        return sum(event.steps for event in ledger.events())


def check_kills(path, kills, seed):
    """Kill a spending process again and again: what it released is always counted."""
    process = started(KILL, path, str(seed), kills)
    go(process)
    lines = process.communicate(timeout=600)[0].splitlines()
    assert len(lines) == kills
    released = 0
    for number, line in enumerate(lines, start=1):
        released += int(line.split()[1])
        assert released <= int(line.split()[2]) <= released + 3 * number
    assert released > 0


def test_a_killed_process_is_never_under_counted(tmp_path):
    check_kills(tmp_path / "ledger.sqlite", kills=8, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_thousand_kills_never_under_count(tmp_path, seed):
    check_kills(tmp_path / "ledger.sqlite", kills=50, seed=seed)


def test_four_processes_at_once_share_one_account(tmp_path):
    path = tmp_path / "ledger.sqlite"
    processes = [started(OPEN + SPEND, path, f"run {number}", 12) for number in range(4)]
    for process in processes:
        go(process)
    told = [process.communicate(timeout=120)[0] for process in processes]
    assert all(text.endswith("done\n") for text in told)
    assert counted(path) == sum(text.count("released") for text in told) == 4 * 12 * 2
    with Ledger.open(path, site="north") as ledger:
        assert ledger.head().seq == 1 + 1 + 4 * 12 * 2


def test_a_full_disk_stops_the_release_and_says_so(tmp_path):
    """Nothing is released after a reserve that was not written."""
    path = tmp_path / "ledger.sqlite"
    process = started(OPEN + FILL, path, "run", 10_000)
    go(process)
    told = process.communicate(timeout=120)[0]
    assert "refused" in told
    assert "nothing may be released" in told
    assert 0 < told.count("released\n") <= counted(path)


def test_a_ledger_that_another_process_holds_is_waited_for(tmp_path):
    path = tmp_path / "ledger.sqlite"
    step = PoissonSampledGaussian(0.01, 5.0, 3, "person")
    with Ledger.open(path, site="north") as ledger:
        ledger.open_study(Opening("s", "person", 1e-5, math.inf, math.inf, 1e-5))
        script = OPEN + "ledger.reserve('s', step, round=1)\ntell('done')"
        process = started(script, path, "b", 0)
        with ledger._turn():
            go(process)
            time.sleep(0.5)
        assert process.communicate(timeout=60)[0] == "done\n"
        assert ledger.events() == (step,)


def test_a_ledger_held_for_too_long_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path, site="north") as ledger:
        monkeypatch.setattr("common.privacy.ledger.file.BUSY_S", 0.1)
        with ledger._turn(), pytest.raises(LedgerError, match="another process held"):
            Ledger.open(path, site="north")
