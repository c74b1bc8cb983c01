"""What docs/operate-a-site.md says can be typed, and the files that it says are there."""

import re
import shlex
from pathlib import Path

import pytest

import tacit
from client.site.audit_log import AUDIT_LOG
from client.site.bundles import APPROVED
from client.site.folder import Wishes, init_site

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/operate-a-site.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:sh)?\n(.*?)```", TEXT, re.S)
LINES = "\n".join(BLOCKS).replace("\\\n", " ").splitlines()
TYPED = [line.removeprefix("$ ").partition(">")[0] for line in LINES]
COMMANDS = [shlex.split(line, comments=True) for line in TYPED if line.startswith("tacit ")]


def test_the_document_goes_from_nothing_to_running() -> None:
    steps = [" ".join(words[1:3]) for words in COMMANDS]
    order = ["site init", "coordinator enrol", "site trust", "site approve", "site check"]
    found = [steps.index(step) for step in (*order, "site start", "site status")]
    assert found == sorted(found)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_exists(words: list[str]) -> None:
    inner = tacit.load(words[1]).commands[words[2]]  # type: ignore[attr-defined]
    known = {flag for item in inner.params for flag in item.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_files_that_init_writes_are_those_of_the_table(tmp_path: Path) -> None:
    init_site(tmp_path / "north", Wishes("north", 40))
    rows = re.findall(r"^\| (.*`[^|]*) \| (\d{4}) \|", TEXT, re.M)
    now = {
        n: mode for said, mode in rows if "later" not in said for n in re.findall("`(.+?)`", said)
    }
    there = {p.name: f"{p.stat().st_mode & 0o777:04o}" for p in (tmp_path / "north").iterdir()}
    assert {name.rstrip("/") for name in now} == set(there)
    assert all(now[name] == "0600" for name, mode in there.items() if mode == "0600")
    later = " ".join(said for said, _ in rows if "later" in said)
    assert AUDIT_LOG in later and APPROVED in later  # noqa: PT018
