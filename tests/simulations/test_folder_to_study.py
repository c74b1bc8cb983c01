"""From a folder in RAVDESS' layout to a finished study: the three commands of docs/data.md."""

import json
import re
import time
import wave
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import tacit

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 16_000
MOST_S = 600.0
"""Ten minutes: what a lab is promised, features included."""


def write_voice(path: Path, hz: float, seed: int) -> None:
    """Half a second of a buzz; a feeling is a pitch here."""
    time_T = np.arange(RATE_HZ // 2) / RATE_HZ
    buzz_T = sum(np.sin(2 * np.pi * hz * k * time_T) / k for k in range(1, 9))
    pulse_T = 0.55 + 0.45 * np.sin(2 * np.pi * 5.6 * time_T)
    noise_T = 0.002 * np.random.default_rng(seed).standard_normal(len(time_T))
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, RATE_HZ, 0, "NONE", "not compressed"))
        out.writeframes((32767 * (0.1 * buzz_T * pulse_T + noise_T)).astype("<i2").tobytes())


@pytest.fixture
def lab(tmp_path, monkeypatch) -> Path:
    """A folder as a lab has it: ten actors, two emotions, two clips of each."""
    for actor in range(1, 11):
        for emotion, hz in ((3, 110.0), (5, 240.0)):
            for take in (1, 2):
                name = f"03-01-{emotion:02d}-01-01-{take:02d}-{actor:02d}.wav"
                path = tmp_path / "RAVDESS" / f"Actor_{actor:02d}" / name
                write_voice(path, hz + 2 * actor, 100 * actor + 10 * emotion + take)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands() -> list[list[str]]:
    """The three commands of the document."""
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    block = re.search(r"## From a folder to a study\n.*?```sh\n(.*?)```", text, re.DOTALL)
    assert block
    lines = [line.partition("#")[0].split() for line in block[1].splitlines() if line.strip()]
    assert all(line[0] == "tacit" for line in lines)
    return [line[1:] for line in lines]


@pytest.mark.slow
def test_three_commands_from_a_folder_to_a_finished_study(lab):
    started, given = time.monotonic(), commands()
    assert [line[0] for line in given] == ["data", "draft", "simulate"]
    given[2] += ["--engine", "in-process"]
    for line in given:
        done = CliRunner().invoke(tacit.app, line, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert time.monotonic() - started < MOST_S
    lines = [json.loads(x) for x in (lab / "runs/first/progress.jsonl").read_text().splitlines()]
    assert lines[-1]["event"] == "finished"
    assert (lab / "runs/first/report.html").is_file()
    assert (lab / "runs/first/model.safetensors").is_file()
    metrics = next(line["metrics"] for line in reversed(lines) if line.get("metrics"))
    assert metrics["persons"] == 2
