"""A file that is replaced whole: the old content or the new; its owner's alone if private."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import EnvironmentFault
from common.files import write_atomically

ROOT = Path(__file__).parents[2]


def test_the_new_content_is_on_disk_before_it_takes_the_old_ones_place(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("sync"), sync(fd))[1])
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (order.append("replace"), replace(self, to))[1]
    )
    write_atomically(tmp_path / "c", b"new")
    assert order[:2] == ["sync", "replace"]
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


FULL = """
import resource, signal, sys
from pathlib import Path
from common.errors import EnvironmentFault
from common.files import write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path(sys.argv[1]), b"new" * 1000)
except EnvironmentFault as error:
    sys.exit(f"said: {error}")
"""


def test_a_full_disk_is_said_and_leaves_the_old_content(tmp_path):
    path = tmp_path / "checkpoint"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", FULL, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("said: ")
    assert "checkpoint cannot be written" in done.stderr
    assert path.read_bytes() == b"old"


def test_a_folder_that_cannot_be_made_is_the_machines_fault(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        write_atomically(tmp_path / "file" / "c", b"x")


def test_a_private_file_is_its_owners_alone_even_after_a_part_that_was_not(tmp_path):
    path, part = tmp_path / "key", tmp_path / "key.part"
    part.write_bytes(b"left by a crash")
    part.chmod(0o644)
    write_atomically(path, b"secret", private=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == b"secret"
    assert not part.exists()


def test_a_part_is_never_written_through_a_link(tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"kept")
    (tmp_path / "c.part").symlink_to(other)
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        write_atomically(tmp_path / "c", b"new")
    assert other.read_bytes() == b"kept"
