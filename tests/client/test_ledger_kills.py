"""Killed while charging or training, at once with others, on a full disk: never an under-count.

A process plays DP rounds of a real site (charge, sample, clip, noise, encode) and says after each
that its vector has left. What the ledger counts afterwards is never less than what was said.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
START = """
import os, random, resource, signal, sys, time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch._dynamo  # the first optimizer loads it: half a second in which no kill tells anything

import client.audit_site as site
from client.audit import SMALL
from client.audit_people import people_for
from common.errors import LedgerError
from common.models.registry import build
from common.privacy.ledger import Ledger

root, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
site._IN_MEMORY = root
draw = random.Random(seed)
study = site.audited_study(SMALL, sampling_rate=0.5, noise_multiplier=1.0, max_grad_norm=1.0)
people = people_for(study, build(study), np.random.default_rng(seed))


def tell(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()


def counted():
    with sites.opened_ledger() as ledger:
        ledger.verify()
        return sum(event.steps for event in ledger.events())


def play(first, rounds, writer):
    # in a child: rounds of its own numbers; one byte for each vector that has left
    sites.round = first
    for _ in range(rounds):
        sites.step(people.data)
        os.write(writer, b"r")


def child(work, *arguments):
    reader, writer = os.pipe()
    number = os.fork()
    if number == 0:
        os.close(reader)
        try:
            work(*arguments, writer)
        finally:
            os._exit(0)
    os.close(writer)
    return number, reader


def released(reader):
    total = 0
    while chunk := os.read(reader, 65536):
        total += len(chunk)
    os.close(reader)
    return total
"""
KILL = """
with site.audited_sites(study, people.nobody()) as sites:
    began = time.monotonic()
    number, reader = child(play, 0, 3)
    os.waitpid(number, 0)
    total, longest = released(reader), time.monotonic() - began
    for turn in range(1, count + 1):
        number, reader = child(play, 10_000 * turn, 9_000)
        time.sleep(draw.uniform(0, longest))
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
        total += released(reader)
        tell("killed", total, counted())
    tell("seconds", time.monotonic() - began)
"""
TOGETHER = """
with site.audited_sites(study, people.nobody()) as sites:
    started = [child(play, 10_000 * turn, 8) for turn in range(4)]
    for number, _ in started:
        os.waitpid(number, 0)
    tell("released", sum(released(reader) for _, reader in started), "counted", counted())
    with sites.opened_ledger() as ledger:
        tell("pending", len(ledger.pending()), "entries", ledger.head().seq)
"""
FULL = """
def fill(writer):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))
    try:
        play(0, 10_000, writer)
    except LedgerError as error:
        tell("refused", error)


with site.audited_sites(study, people.nobody()) as sites:
    number, reader = child(fill)
    total = released(reader)
    os.waitpid(number, 0)
    tell("released", total, "counted", counted())
"""


def played(script, folder, seed=0, count=0):
    done = subprocess.run(
        [sys.executable, "-c", START + script, str(folder), str(seed), str(count)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_kills(folder, kills, seed):
    text = played(KILL, folder, seed, kills)
    lines = [tuple(map(int, found)) for found in re.findall(r"killed (\d+) (\d+)", text)]
    assert len(lines) == kills
    for number, (released, counted) in enumerate(lines, start=1):
        assert released <= counted <= released + number
    assert lines[-1][0] > 3
    assert lines[-1][1] > lines[-1][0], "no kill fell between a reserve and its release"


def test_a_site_killed_while_it_trains_is_never_under_counted(tmp_path):
    check_kills(tmp_path, kills=20, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_thousand_kills_while_charging_and_training_never_under_count(tmp_path, seed):
    check_kills(tmp_path, kills=100, seed=seed)


def test_four_processes_of_one_site_share_one_ledger(tmp_path):
    text = played(TOGETHER, tmp_path)
    assert "released 32 counted 32" in text
    assert "pending 0 entries 66" in text


def test_on_a_full_disk_nothing_leaves_that_was_not_charged(tmp_path):
    text = played(FULL, tmp_path)
    assert "nothing may be released" in text
    released, counted = map(int, re.search(r"released (\d+) counted (\d+)", text).groups())
    assert 0 < released <= counted <= released + 1
