"""What a run says of itself is handed on once; how it ended keeps its type and exit code."""

import json
from pathlib import Path

import pytest

from common.errors import BudgetSpent, ExitCode, TacitError
from server.checkpoint import alone
from server.following import ERROR, PROGRESS, Follower, progress, said

LINES = [{"event": "started"}, {"event": "round", "round": 1}, {"event": "finished"}]


def write(root: Path, *lines: dict[str, object], cut: str = "") -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (root / PROGRESS).write_text(text + cut)


def test_each_line_is_handed_on_once_and_the_last_says_so(tmp_path: Path) -> None:
    found: list[dict[str, object]] = []
    follow = Follower(tmp_path, found.append)
    assert not follow()
    write(tmp_path, *LINES[:1], cut='{"event": "rou')
    assert not follow()
    write(tmp_path, *LINES[:2])
    assert not follow()
    write(tmp_path, *LINES)
    assert follow()
    assert follow()
    assert found == LINES


def test_a_resumed_run_hands_on_what_is_new(tmp_path: Path) -> None:
    found: list[dict[str, object]] = []
    write(tmp_path, *LINES[:2])
    follow = Follower(tmp_path, found.append, is_resumed=True)
    write(tmp_path, *LINES)
    assert follow()
    assert found == LINES[2:]


def test_an_error_ends_the_watching_too(tmp_path: Path) -> None:
    (tmp_path / ERROR).write_text("{}")
    assert Follower(tmp_path, lambda _: None)()


def test_a_process_that_lets_go_of_the_folder_without_an_end_has_died(tmp_path: Path) -> None:
    follow = Follower(tmp_path, lambda _: None)
    assert not follow.has_died()  # it has not begun
    with alone(tmp_path):
        assert not follow.has_died()
    assert follow.has_died()


@pytest.mark.parametrize("ending", [PROGRESS, ERROR])
def test_a_process_that_has_said_how_it_ended_has_not_died(tmp_path: Path, ending: str) -> None:
    follow = Follower(tmp_path, lambda _: None)
    with alone(tmp_path):
        assert not follow.has_died()
        (tmp_path / ending).write_text(json.dumps(LINES[-1]) + "\n")
    assert not follow.has_died()


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    assert progress(tmp_path) == []
    (tmp_path / PROGRESS).write_text('{"event": "ro\n{"event": "round"}\n{"event"')
    assert progress(tmp_path) == [{"event": "round"}]


@pytest.mark.parametrize(
    ("name", "code", "kind", "text"),
    [
        ("BudgetSpent", ExitCode.PRIVACY, BudgetSpent, "spent"),
        ("TacitError", ExitCode.FAILED, TacitError, "spent"),
        ("ValueError", ExitCode.FAILED, TacitError, "The coordinator failed: spent"),
    ],
)
def test_an_error_comes_back_with_its_type_and_exit_code(tmp_path, name, code, kind, text) -> None:
    assert said(tmp_path) is None
    content = {"type": name, "message": "spent", "exit_code": int(code)}
    (tmp_path / ERROR).write_text(json.dumps(content))
    error = said(tmp_path, ["north says: why"])
    assert type(error) is kind
    assert error.exit_code == code
    assert str(error) == f"{text}\nnorth says: why"
