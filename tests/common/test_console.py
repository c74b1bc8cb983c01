"""What goes into a pipe or a file is whole; a terminal, or COLUMNS, says how wide it is."""

import ast
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CELLS = [f"{number}-{'x' * 60}" for number in range(5)]
CODE = f"""
from rich.table import Table
from common.console import open_console
table = Table(*{CELLS!r})
table.add_row(*{CELLS!r})
open_console().print(table)
open_console().print("word " * 60)
open_console(stderr=True).print("/" + "y" * 300)
"""


def printed(**environment):
    """What the same code prints into a pipe: on both streams."""
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR", "TERM")}
    return subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT, env={**kept, **environment}, capture_output=True, text=True, check=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}, {"TERM": "dumb"}])
def test_into_a_pipe_nothing_is_cut(environment):
    done = printed(**environment)
    assert all(done.stdout.count(cell) == 2 for cell in CELLS)
    assert "…" not in done.stdout
    assert "word " * 59 in done.stdout
    assert "y" * 300 in done.stderr


def test_columns_say_how_wide_a_pipe_is():
    done = printed(COLUMNS="90")
    assert max(map(len, done.stdout.splitlines())) == 90


def test_a_terminal_is_as_wide_as_it_is():
    leader, follower = pty.openpty()
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR")}
    child = subprocess.Popen(
        ["sh", "-c", 'stty cols 100 <&1 && exec "$0" -c "$1"', sys.executable, CODE],
        cwd=ROOT, env={**kept, "TERM": "xterm"},
        stdin=subprocess.DEVNULL, stdout=follower, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(follower)
    found = b""
    while found.count(b"word") < 60:
        found += os.read(leader, 1 << 16)
    os.close(leader)
    assert child.wait(timeout=60) == 0
    lines = found.decode().replace("\r", "").splitlines()
    assert "…" in found.decode()
    assert sum(line.count("word") for line in lines) == 60
    assert max(len(line) for line in lines if "word" in line) <= 100


@pytest.mark.parametrize("folder", ["client", "common", "server", "simulations"])
def test_nothing_else_makes_a_console_of_its_own_width(folder):
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Console":
                is_wide = any(keyword.arg == "width" for keyword in node.keywords)
                assert is_wide, f"{path}:{node.lineno}: expected common.console.open_console"
