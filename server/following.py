"""What a run reports while it runs and when it ends, from the files of its folder."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common import errors
from common.errors import ExitCode, TacitError
from server.checkpoint import is_played

PROGRESS = "progress.jsonl"
ERROR = "error.json"
Watch = Callable[[dict[str, Any]], None]


def progress(root: Path) -> list[dict[str, Any]]:
    """Everything that was reported so far; a line still being written is left out."""
    path = root / PROGRESS
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [line for line in map(_parsed, lines) if line is not None]


def _parsed(text: str) -> dict[str, Any] | None:
    """A line; None for one that a crash cut off and that a later run ended."""
    try:
        return dict(json.loads(text))
    except ValueError:
        return None


class Follower:
    """Hands each new line of a run's progress on, once.

    Args:
        root: of the run's folder.
        watch: gets each line.
        is_resumed: whether what stands there already is of an earlier part of the run.
    """

    def __init__(self, root: Path, watch: Watch, *, is_resumed: bool = False) -> None:
        self._root = root
        self._watch = watch
        self._was_played = False
        self._before = self._seen = len(progress(root)) if is_resumed else 0

    def __call__(self) -> bool:
        """Hand on what is new; whether the coordinator has said that it is through."""
        lines = progress(self._root)
        for line in lines[self._seen :]:
            self._watch(line)
        self._seen = len(lines)
        is_finished = bool(lines) and lines[-1]["event"] == "finished"
        return is_finished or (self._root / ERROR).exists()

    def has_begun(self) -> bool:
        """Whether a process was seen to play the run, or anything of it was reported."""
        return self._was_played or self._seen > self._before

    def has_died(self) -> bool:
        """Whether the process that played the run let go of its folder and said nothing of an end.

        Flower takes a minute to miss it.
        """
        is_now = is_played(self._root)
        is_gone = self._was_played and not is_now
        self._was_played |= is_now
        return is_gone and not self()


def said(root: Path, also: Sequence[str] = ()) -> TacitError | None:
    """What the ServerApp said when it failed, with its own type and exit code; None if nothing.

    Args:
        root: of the run's folder.
        also: lines to add, what the sites' own logs say for one.
    """
    path = root / ERROR
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    kind = getattr(errors, str(found["type"]), TacitError)
    is_ours = kind is not TacitError or found["type"] == "TacitError"
    text = str(found["message"]) if is_ours else f"The coordinator failed: {found['message']}"
    error: TacitError = kind.__new__(kind)
    error.args = ("\n".join([text, *also]),)
    error.exit_code = ExitCode(int(found["exit_code"]))
    return error
