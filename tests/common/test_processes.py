"""Processes without systemd: started once, started again with patience, stopped for good."""

import logging
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common import processes
from common.errors import EnvironmentFault
from common.processes import Group, become, next_wait_s, plain_logs, start, stop, supervisor_pid
from common.units import write_units

WORKER = """\
import sys, time
from pathlib import Path
with Path({marks!r}).open("a") as out:
    out.write(sys.argv[1] + "\\n")
print("said by", sys.argv[1], flush=True)
time.sleep(0 if sys.argv[1] == "short" else 600)
"""


@pytest.fixture
def group(tmp_path: Path, monkeypatch) -> Group:
    """Two stand-ins: one that stays, one that ends at once; and a supervisor for them."""
    root, worker = tmp_path / "site", tmp_path / "worker.py"
    root.mkdir()
    worker.write_text(WORKER.format(marks=str(root / "marks")))
    made = f"Group(Path({str(root)!r}), 'site', ('long', 'short'))"
    watch = (
        "import sys; from pathlib import Path; from common import processes; "
        f"from common.processes import Group; processes.FIRST_WAIT_S = 0.1; "
        f"Group.command = lambda self, name: [sys.executable, {str(worker)!r}, name]; "
        f"processes.supervise({made})"
    )

    def command(self: Group, name: str) -> list[str]:
        return [sys.executable, "-c", watch]

    monkeypatch.setattr(Group, "command", command)
    return Group(root, "site", ("long", "short"))


def marks(group: Group) -> list[str]:
    path = group.root / "marks"
    return path.read_text().split() if path.exists() else []


def wait_for(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_group_is_started_once_watched_and_stopped_whole(group: Group) -> None:
    assert supervisor_pid(group.root) is None
    pid = start(group)
    try:
        assert supervisor_pid(group.root) == pid
        with pytest.raises(EnvironmentFault, match="is running already"):
            start(group)
        wait_for(lambda: marks(group).count("short") >= 2)
    finally:
        assert stop(group.root)
    assert marks(group).count("long") == 1
    assert supervisor_pid(group.root) is None
    assert not stop(group.root)
    wait_for(lambda: str(group.root.parent / "worker.py") not in running())
    logs = {path.name: path for path in group.root.glob("*.log")}
    assert set(logs) == {"supervisor.log", "long.log", "short.log"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in logs.values()} == {0o600}
    assert "said by long" in logs["long.log"].read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="the system ends what lost its parent on Linux")
def test_what_a_killed_supervisor_ran_ends_and_its_place_can_be_taken(group: Group) -> None:
    """Or it would hold the site's ports, out of anybody's sight."""
    worker = str(group.root.parent / "worker.py")
    for times in (1, 2):
        pid = start(group)
        wait_for(lambda expected=times: marks(group).count("long") == expected)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: worker not in running())
    assert supervisor_pid(group.root) is None


def running() -> str:
    listed = ["ps", "-ww", "-eo", "args"]
    return subprocess.run(listed, capture_output=True, text=True, check=True).stdout


def test_a_log_that_others_could_read_is_shut(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("before\n")
    log.chmod(0o644)
    processes._popen([sys.executable, "-c", "print('after')"], log).wait(30)
    assert log.read_text() == "before\nafter\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_number_that_a_crash_left_behind_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "supervisor.pid").write_text("1\n")
    assert supervisor_pid(tmp_path) is None
    assert not stop(tmp_path)


def test_the_folders_lock_is_held_by_one_alone(tmp_path: Path) -> None:
    with processes._alone(tmp_path):
        assert supervisor_pid(tmp_path) == os.getpid()
        with pytest.raises(EnvironmentFault, match="Another process"), processes._alone(tmp_path):
            pass
    with processes._alone(tmp_path):
        pass


def test_a_supervisor_that_ends_at_once_is_said(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Group, "command", lambda *_: [sys.executable, "-c", "raise SystemExit(1)"])
    with pytest.raises(EnvironmentFault, match="ended at once"):
        start(Group(tmp_path, "site", ("a",)))


def test_waits_double_to_a_minute_and_begin_anew_after_a_good_life() -> None:
    waits = [processes.FIRST_WAIT_S]
    for _ in range(8):
        waits.append(next_wait_s(waits[-1], lived_s=3.0))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert next_wait_s(60.0, processes.GOOD_LIFE_S) == 1.0
    assert next_wait_s(60.0, processes.GOOD_LIFE_S - 0.01) == 60.0


def test_a_node_that_was_killed_is_let_in_again_within_the_waits() -> None:
    """The coordinator keeps it out for up to 60 s: a try comes later than that, and soon."""
    tries, wait = [0.0], processes.FIRST_WAIT_S
    while tries[-1] < 60:
        wait = next_wait_s(wait, lived_s=2.0)
        tries.append(tries[-1] + 2.0 + wait)
    assert len(tries) < 8
    assert tries[-1] < 130


def test_to_become_a_process_is_to_be_in_an_empty_folder_without_secrets(tmp_path, monkeypatch):
    seen, limited = [], []
    monkeypatch.setattr(os, "chdir", lambda path: seen.append(list(Path(path).iterdir())))
    monkeypatch.setattr(os, "execve", lambda *words: seen.append(words))
    monkeypatch.setattr(processes.resource, "setrlimit", lambda *words: limited.append(words))
    become(tmp_path, ["/bin/flower", "--x"])
    assert limited == [(resource.RLIMIT_CORE, (0, 0))]
    assert seen[0] == []
    program, words, environment = seen[1]
    assert (program, words) == ("/bin/flower", ["/bin/flower", "--x"])
    assert environment["FLWR_HOME"] == str(tmp_path / "flower")
    assert environment["FLWR_TELEMETRY_ENABLED"] == "0"


def test_neither_a_supervisor_nor_what_it_starts_dumps_a_core(group: Group) -> None:
    """The hard limit too, so that none of them can raise it again."""
    pid = start(group)
    try:
        wait_for(lambda: "long" in marks(group))
        listed = ["ps", "-o", "pid=", "--ppid", str(pid)]
        said = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
        pids = [pid, *map(int, said.split())]
        assert len(pids) >= 2
        for one in pids:
            assert re.search(r"Max core file size +0 +0 ", Path(f"/proc/{one}/limits").read_text())
    finally:
        stop(group.root)


def test_flowers_log_is_plain_text_with_the_time() -> None:
    flower = "import logging, flwr.supercore.logger as l; from common.processes import plain_logs; "
    said = "plain_logs(); l.log(logging.WARNING, 'hello %s', 'there')"
    done = subprocess.run(
        [sys.executable, "-c", flower + said], capture_output=True, text=True, check=True
    )
    assert "\033" not in done.stderr + done.stdout
    assert "hello there" in done.stderr + done.stdout
    assert time.strftime("%Y-") in done.stderr + done.stdout


def test_a_process_without_flower_has_nothing_to_make_plain() -> None:
    kept = logging.getLogger("flwr").handlers[:]
    plain_logs()
    assert logging.getLogger("flwr").handlers == kept


def test_each_unit_starts_after_the_one_before_it_and_dumps_no_core(tmp_path: Path) -> None:
    group = Group(tmp_path / "a site", "site", ("supernode", "runner"))
    write_units(tmp_path / "systemd", group, "north", {"supernode": "one", "runner": "two"})
    node, runner = (
        (tmp_path / "systemd" / f"tacit-{name}-north.service").read_text() for name in group.names
    )
    assert "After=network-online.target\n" in node
    assert "After=network-online.target tacit-supernode-north.service\n" in runner
    for text, what, name in ((node, "one", "supernode"), (runner, "two", "runner")):
        assert f"Description=Tacit north: {what}\n" in text
        assert f"site {name} '{tmp_path}/a site'\n" in text
        assert f"ReadWritePaths='{tmp_path}/a site'\n" in text
        for line in ("UMask=0077", "LimitCORE=0", "NoNewPrivileges=yes", "Restart=always"):
            assert f"{line}\n" in text
    with pytest.raises(FileExistsError):
        write_units(tmp_path / "systemd", group, "north", {"supernode": "", "runner": ""})
