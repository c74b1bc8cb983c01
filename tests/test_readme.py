"""What README says can be typed, and leads where it says."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tacit
from common.config import Study
from common.rules import flat_keys
from common.settings import study_names

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.S)
COMMANDS = [
    shlex.split(line, comments=True)
    for block in BLOCKS
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip().startswith(("tacit ", ".venv/bin/tacit "))
]


def known_commands() -> dict[str, set[str]]:
    found = {}
    for name in tacit.COMMANDS:
        command = tacit.load(name)
        inner = getattr(command, "commands", {"": command})
        for below, one in inner.items():
            flags = {flag for item in one.params for flag in item.opts}
            found[f"{name} {below}".strip()] = flags
    return found


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!http|#)([^)#]+)", README))))
def test_every_link_leads_somewhere(target):
    assert (ROOT / target).exists()


def test_readme_names_commands():
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_exists(words):
    known = known_commands()
    name = words[1] if words[1] in known else f"{words[1]} {words[2]}"
    assert name in known
    assert {word for word in words if word.startswith("--")} <= known[name]


@pytest.mark.parametrize("target", re.findall(r"^make (\S+)", "\n".join(BLOCKS), re.M))
def test_every_make_target_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


def test_every_setting_and_study_of_the_table_exists():
    settings = set(re.findall(r"((?:privacy|training)\.[a-z_]+)=", README))
    assert settings
    assert settings <= set(flat_keys(Study))
    named = re.findall(r"^\|[^|]+\| `(\w+) SOURCE", README, re.M)
    assert named
    assert set(named) <= set(study_names())


def test_ones_own_recordings_from_a_manifest_to_probabilities(tiny_data, tmp_path, monkeypatch):
    """The block under 'Your own recordings', line by line, on a corpus of this test's own."""
    block = next(block for block in BLOCKS if "tacit draft" in block)
    (tmp_path / "my-data").symlink_to(tiny_data.root)
    site = next(path for path in sorted((tiny_data.root / "sites").iterdir()))
    (tmp_path / "other-people.csv").write_text((site / "manifest.csv").read_text())
    monkeypatch.chdir(tmp_path)
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0] != "tacit":
            continue
        words = [word.replace("sites/clinic", f"sites/{site.name}") for word in words]
        if words[1] == "simulate":
            words += ["training.num_server_rounds=2", "--engine", "in-process"]
        done = CliRunner().invoke(tacit.app, words[1:], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "probabilities.parquet").is_file()
    assert (tmp_path / "runs" / "first" / "report.html").is_file()
