"""kill -9 of each process in each stage: the study ends, and no site's ε is under-counted.

Real processes with TLS on this machine. Nothing in the product waits for this script: it sees from
outside, by a site's own locks and ledger, that a stage is under way there, and kills then.

By default three cases run; tests/simulations/test_supernodes.py kills a SuperNode besides.
TACIT_KILLS=all runs all 24; names of processes or stages (TACIT_KILLS=runner,masking) run theirs.
The cases go stage by stage, since what is killed again within two minutes is started again later
each time.
"""

import contextlib
import csv
import os
import re
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from client.site.health import ask_status
from client.site.processes import ports_of
from common.errors import LedgerError
from common.privacy.accountant import epsilon
from common.privacy.ledger import read_ledger
from common.processes import BIN
from server.checkpoint import CHECKPOINT, read_checkpoint
from server.following import progress

PROCESSES = ("runner", "SuperNode", "ServerApp", "SuperLink")
STAGES = ("advertising", "sharing", "masking", "confirming", "unmasking", "evaluating")
SOME = (("SuperLink", "masking"), ("ServerApp", "confirming"), ("runner", "unmasking"))
ALL = tuple((process, stage) for stage, process in product(STAGES, PROCESSES))
SITES, ROUNDS = 4, 2
SETTINGS = (
    f"training.num_server_rounds={ROUNDS}",
    f"training.evaluate_every={ROUNDS}",
    "training.local_steps=2",
    "model.hidden=4",
    "privacy.noise_multiplier=6",
    "secure_aggregation.suite=mlkem768_x25519",
    "secure_aggregation.stage_timeout_s=120",
)
UNBROKEN = Counter({"training": ROUNDS, "evaluation counts": 1})
LOCKS = {"advertising": 1, "sharing": 2, "confirming": 12, "unmasking": 16}
"""Lines that a run has added to a site's locks in that stage; of round 2, but for keys."""

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": "/tmp"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@dataclass
class Case:
    """What was killed, when, and how it went on."""

    process: str
    stage: str
    resumed: int = 0
    rounds: str = ""
    charged: str = ""
    spent: str = ""
    seconds: float = 0.0


def chosen(asked):
    """The cases that are asked for, by names of processes and stages."""
    words = set(asked.split(","))
    return ALL if asked == "all" else [one for one in ALL if words & set(one)] or SOME


@pytest.fixture(scope="module")
def running(lay_federation):
    """A federation whose sites leave room for many short studies."""
    federation = lay_federation(SITES)
    for name in federation.names:
        policy = federation.site(name) / "policy.yaml"
        also = "settings:\n  seed: any\n" + "".join(
            f"  {pair.partition('=')[0]}: any\n"
            for pair in SETTINGS
            if pair.split("=")[0] not in policy.read_text()
        )
        policy.write_text(re.sub(r"(?m)^settings:\n", also, policy.read_text()))
        policy.write_text(re.sub(r"(?m)^(max_epsilon\w*): .*", r"\1: 400", policy.read_text()))
    federation.start()
    return federation


def matching(*words):
    """Processes that have all these words in their command line or environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            home = (entry / "environ").read_bytes().decode(errors="replace")
            if all(word in line or word in home for word in words):
                found.append(int(entry.name))
    return found


def victims(federation, process):
    """The processes that a case kills."""
    first, hub = str(federation.site(federation.names[0])), str(federation.hub)
    words = {
        "runner": ("site runner", first),
        "SuperNode": ("client.site.supernode", first + "/"),
        "ServerApp": ("flwr-serverapp", f"FLWR_HOME={hub}/flower"),
        "SuperLink": ("server.coordinator.superlink", f"{hub}/superlink.db"),
    }
    return matching(*words[process])


class Site:
    """What a site's own files say of a run that began when this was made."""

    def __init__(self, root):
        self.root, self._read = root, ((), [])
        self.locks, self.entries = self._locks(), len(self._charges())

    def _locks(self):
        path = self.root / "locks.log"
        return len(path.read_bytes().splitlines()) if path.exists() else 0

    def _charges(self):
        path = self.root / "ledger.sqlite"
        if not path.exists():
            return []
        stamp = tuple((p.name, p.stat().st_mtime_ns) for p in sorted(self.root.glob("ledger.*")))
        if stamp != self._read[0]:
            with contextlib.suppress(LedgerError):  # it is being founded just now
                first = [c for c in read_ledger(path).changes if c.seq == c.reservation.seq]
                self._read = stamp, [change.reservation for change in first]
        return self._read[1]

    def charged(self):
        return self._charges()[self.entries :]

    def is_in(self, stage):
        """Whether that stage is under way here."""
        if stage in LOCKS:
            return self._locks() - self.locks >= LOCKS[stage]
        what = Counter(one.what for one in self.charged())
        return what["training"] >= 2 if stage == "masking" else what["evaluation counts"] >= 1


def begin(federation, *words):
    given = [str(BIN / "tacit"), "coordinator", *(str(word) for word in words)]
    with (federation.root / "runs.log").open("ab") as out:
        return subprocess.Popen(given, env=ENVIRONMENT, stdout=out, stderr=out)


def await_(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "took too long"
        time.sleep(0.01)


def play(federation, case, number):
    """One study with one kill in it; returns what each site charged."""
    root = federation.root / f"run-{number}"
    await_(lambda: all(is_ready(federation, name) for name in federation.names), 120)
    sites = {name: Site(federation.site(name)) for name in federation.names}
    began, first = time.monotonic(), sites[federation.names[0]]
    given = (*SETTINGS, f"seed={number + 1}")  # another first model: the last one's is locked
    run = begin(federation, "run", federation.hub, "demo", *given, "--out", root)
    await_(lambda: first.is_in(case.stage) or run.poll() is not None, 300)
    assert run.poll() is None, (federation.root / "runs.log").read_text()[-3000:]
    pids = victims(federation, case.process)
    assert pids, f"no {case.process} to kill"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    code = run.wait(400)
    while code and case.resumed < 4:
        case.resumed += 1
        code = begin(federation, "resume", federation.hub, root).wait(400)
    case.seconds = time.monotonic() - began
    assert code == 0, (federation.root / "runs.log").read_text()[-3000:]
    own = read_checkpoint(root / CHECKPOINT).origin.run
    return root, {n: [c for c in site.charged() if c.run == own] for n, site in sites.items()}


def is_ready(federation, name):
    found = ask_status(ports_of(federation.site(name)).health)
    return found is not None and found.doing == "ready" and time.time() - found.last_contact < 2


def crowds(federation):
    """Persons kept for evaluation at three sites or more: what an exact sum can say."""
    kept = []
    for name in federation.names:
        path = federation.root / "data" / "sites" / name / "manifest.csv"
        with path.open(newline="") as file:
            kept.append(len({r["person_id"] for r in csv.DictReader(file) if r["split"] == "test"}))
    return {sum(some) for size in (3, 4) for some in combinations(kept, size)}


def spent(charged):
    return epsilon([one.event for one in charged if one.what == "training"], 0.001, "person")


def check(federation, case, root, charged):
    """Finished, each round once, every contribution charged, at most the broken round twice."""
    lines = [line for line in progress(root) if line["event"] == "round"]
    assert [line["round"] for line in lines] == list(range(1, ROUNDS + 1))
    assert (root / "model.safetensors").is_file()
    assert read_checkpoint(root / CHECKPOINT).round == ROUNDS
    for name, mine in charged.items():
        counted = Counter(one.what for one in mine)
        took_part = sum(name in line["sites"] for line in lines)
        assert counted["training"] >= took_part, f"{name} is under-charged"
        broken = counted - UNBROKEN
        assert broken.total() <= 1, f"{name} is over-charged: {counted}"
    assert lines[-1]["metrics"]["persons"] in crowds(federation), "a wrong sum"
    case.rounds = "; ".join(f"{line['round']}: {len(line['sites'])} of {SITES}" for line in lines)
    case.charged = " ".join(str(sum(one.what == "training" for one in m)) for m in charged.values())
    case.spent = " ".join(f"{spent(mine):.2f}" for mine in charged.values())


def test_whatever_is_killed_whenever_the_study_ends(running):
    cases = [Case(*one) for one in chosen(os.environ.get("TACIT_KILLS", ""))]
    failed = []
    for number, case in enumerate(cases):
        try:
            check(running, case, *play(running, case, number))
        except (AssertionError, subprocess.TimeoutExpired) as error:
            case.rounds = f"failed: {str(error)[-400:]}"
            failed.append(case)
        Console(width=160).print(case)
    Console(width=160).print(table_of(cases))
    assert not failed


def table_of(cases):
    table = Table(title=f"kill -9, {len(cases)} cases; unbroken: {ROUNDS} training rounds a site")
    for column in ("killed", "while", "went on", "sites in round", "charged", "ε a site", "s"):
        table.add_column(column)
    for case in cases:
        resumed = f"resume x{case.resumed}" if case.resumed else "by itself"
        row = (resumed, case.rounds, case.charged, case.spent, f"{case.seconds:.0f}")
        table.add_row(case.process, case.stage, *row)
    return table
