"""Flower's own engine: the same run, a true exit, and nothing left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.flwr_cli import as_toml
from simulations.flower import _carrying
from simulations.studies import RunFolder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def crowded(tmp_path):
    """A working directory whose own server, client and common are other people's."""
    folder = tmp_path / "crowded"
    for name in ("server", "client", "common"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise RuntimeError('not this one')\n")
    return folder


def tacit(*arguments: str, cwd: Path, tmp: Path) -> subprocess.CompletedProcess[str]:
    """The installed command, as it is typed; its temporary files are under `tmp`."""
    tmp.mkdir(exist_ok=True)
    return subprocess.run(
        [str(Path(sys.executable).parent / "tacit"), "simulate", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
        env={**os.environ, "TMPDIR": str(tmp), "COLUMNS": "300"},
    )


def processes_of(tmp: Path) -> list[str]:
    """Every process whose environment speaks of that temporary folder."""
    found = []
    for pid in _carrying(f"TMPDIR={tmp}"):
        name = Path(f"/proc/{pid}/cmdline")
        found.append(name.read_bytes().replace(b"\0", b" ").decode() if name.exists() else "")
    return found


def contributors(run: RunFolder) -> list[object]:
    """Who was in each round; a site that was lost on the way explains another model."""
    return [line["sites"] for line in run.progress() if line["event"] == "round"]


@pytest.mark.slow
def test_a_run_through_flower_equals_the_run_in_process(
    open_run, tiny_data, tiny_yaml, crowded, tmp_path
):
    """Bit for bit, from a directory that shadows our packages, and nothing stays behind."""
    out, tmp = tmp_path / "run", Path("/tmp") / f"tacit-test-{os.getpid()}"  # sockets: short
    settings = ("normalise=federated", "training.num_server_rounds=4")
    given = ("--data", str(tiny_data.root), "--out", str(out), "--engine", "flwr")
    done = tacit(str(tiny_yaml), *settings, *given, cwd=crowded, tmp=tmp)
    assert done.returncode == 0, done.stderr + done.stdout
    assert contributors(RunFolder(out)) == contributors(open_run.run)
    assert (out / "model.safetensors").read_bytes() == open_run.run.model.read_bytes()
    assert processes_of(tmp) == []
    assert not list(tmp.glob("tacit-flwr-*"))


@pytest.mark.slow
def test_a_run_that_fails_says_why_with_its_exit_code(tiny_data, tiny_yaml, crowded, tmp_path):
    """A purpose that no site may have: the ServerApp ends, Flower's own command says 0."""
    out, tmp = tmp_path / "run", Path("/tmp") / f"tacit-test-{os.getpid()}-failing"
    given = ("--data", str(tiny_data.root), "--out", str(out), "--engine", "flwr")
    done = tacit(str(tiny_yaml), "purpose=workplace", *given, cwd=crowded, tmp=tmp)
    assert done.returncode == 4, done.stderr + done.stdout
    assert "policy" in done.stderr
    assert "Traceback" not in done.stderr
    assert processes_of(tmp) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (3, "3"), (0.5, "0.5"), ("a b", '"a b"'), ('say "x"', '"say \\"x\\""')],
)
def test_settings_are_written_asas_toml(value, text):
    assert as_toml(value) == text
