"""What a site remembers survives crashes, restarts, other processes and odd names."""

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.locks import FileLocks
from common.errors import EnvironmentFault

ROOT = Path(__file__).resolve().parents[2]
KEY, OTHER = b"\x01" * 32, b"\x02" * 32


@pytest.fixture
def locks(tmp_path):
    return FileLocks(tmp_path / "locks.log")


def test_a_key_is_locked_once_and_for_ever(locks, tmp_path):
    assert not locks.locked(KEY)
    assert locks.lock(KEY)
    assert not locks.lock(KEY)
    again = FileLocks(tmp_path / "locks.log")
    assert again.locked(KEY)
    assert not again.lock(KEY)
    assert not again.locked(OTHER)


def test_the_file_is_for_its_owner_alone(locks, tmp_path):
    locks.lock(KEY)
    assert (tmp_path / "locks.log").stat().st_mode & 0o777 == 0o600


def test_the_newest_attempt_of_each_series(locks):
    assert locks.newest("run/train") == (-1, -1)
    for round_, attempt in ((1, 0), (2, 3), (2, 1), (10, 0)):
        locks.begin("run/train", round_, attempt)
    locks.begin("run/evaluate", 11, 0)
    assert locks.newest("run/train") == (10, 0)
    assert locks.newest("run/evaluate") == (11, 0)
    assert locks.newest("run/trai") == locks.newest("run") == (-1, -1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    series=st.text(max_size=30)
    | st.sampled_from(["a\nbegin 9 9 a", "a\r", "\n", "lock " + KEY.hex(), "a\u2028b", ""])
)
def test_whatever_a_run_is_called_its_newest_attempt_is_remembered(tmp_path, series):
    path = tmp_path / "named.log"
    path.unlink(missing_ok=True)
    locks = FileLocks(path)
    locks.begin("other", 7, 0)
    locks.begin(series, 3, 2)
    assert locks.newest(series) == ((7, 0) if series == "other" else (3, 2))
    assert locks.newest("other")[0] == 7
    assert not locks.locked(KEY)


@pytest.mark.parametrize("torn", ["lock 01", f"lock {KEY.hex()}", "begin 5 0 abc", "begin", "\x00"])
def test_a_line_that_a_crash_left_unfinished_spoils_no_other(locks, tmp_path, torn):
    locks.begin("run/train", 1, 0)
    with (tmp_path / "locks.log").open("a") as file:
        file.write(torn)
    assert not locks.locked(KEY)
    assert locks.newest("run/train") == (1, 0)
    locks.begin("run/train", 2, 0)
    assert locks.lock(OTHER)
    assert locks.newest("run/train") == (2, 0)
    assert locks.locked(OTHER)


def test_two_processes_never_both_get_one_lock(tmp_path):
    """Eight processes, each trying the same forty keys: every key is given once."""
    path = tmp_path / "locks.log"
    code = (
        "import sys; from pathlib import Path; from client.locks import FileLocks\n"
        "locks = FileLocks(Path(sys.argv[1]))\n"
        "print(sum(locks.lock(bytes([k]) * 32) for k in range(40)))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    given_out = [int(process.communicate()[0]) for process in started]
    assert sum(given_out) == 40
    assert len(path.read_text().splitlines()) == 40


def test_a_file_that_cannot_be_written_is_the_machines_fault(tmp_path):
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        FileLocks(tmp_path / "missing" / "locks.log").lock(KEY)


def test_an_older_attempt_never_takes_the_newest_ones_place(locks, tmp_path):
    locks.begin("run", 4, 1)
    locks.begin("run", 2, 0)
    assert locks.newest("run") == (4, 1)
    assert FileLocks(tmp_path / "locks.log").newest("run") == (4, 1)


def test_a_file_that_was_put_back_is_read_from_its_start(locks, tmp_path):
    """A shorter one in the same place, or another file: what is there now counts."""
    path = tmp_path / "locks.log"
    locks.lock(KEY)
    one = path.read_bytes()
    locks.lock(OTHER)
    assert locks.locked(OTHER)
    path.write_bytes(one)
    assert locks.locked(KEY)
    assert not locks.locked(OTHER)
    other = tmp_path / "other.log"
    FileLocks(other).lock(OTHER)
    other.replace(path)
    assert locks.locked(OTHER)
    assert not locks.locked(KEY)


def test_a_lock_is_on_disk_before_it_counts(locks, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    locks.lock(KEY)
    locks.begin("run", 1, 0)
    assert len(synced) == 2


def test_whoever_holds_the_file_keeps_every_other_process_out(locks, tmp_path):
    locks.lock(KEY)
    with (tmp_path / "locks.log").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = threading.Thread(target=locks.lock, args=(OTHER,))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(30)
    assert locks.locked(OTHER)
