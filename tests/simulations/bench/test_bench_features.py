"""`tacit bench features`: both sides find the same features, and what it prints is true."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import soundfile as sf
import torch
from typer.testing import CliRunner

from common.errors import EnvironmentFault
from simulations.bench import features_outcome
from simulations.bench.commands import bench
from simulations.bench.features import LIGHT, MEASURED, open_encoder, write_encoder, write_long
from simulations.bench.features_memory import peak_of, read_whole
from simulations.bench.features_outcome import Plan, plan, run, steps
from simulations.bench.features_sides import cpu_times, difference, plain_side, tacit_side

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "docs/schemas/bench.json").read_text(encoding="utf-8"))
TINY = Plan(clips=3, repetitions=1, minutes=(1, 2), is_full=False)


@pytest.fixture
def light(tmp_path):
    return write_encoder(LIGHT["WAV"], tmp_path / "light")


def test_both_sides_find_the_same_whatever_the_length(light, tmp_path):
    frozen = open_encoder(LIGHT["WAV"], light)
    rng, paths = np.random.default_rng(0), []
    for number, seconds in enumerate((0.5, 3.0, 1.7, 2.2, 0.9)):
        paths.append(tmp_path / f"{number}.wav")
        sf.write(paths[-1], 0.1 * rng.standard_normal(int(seconds * 16_000)), 16_000)
    sides = plain_side(frozen, paths), tacit_side(frozen, paths, lambda: tmp_path / "cache")
    seconds, (plain_NF, tacit_NF) = cpu_times(sides, 1)
    assert plain_NF.shape == tacit_NF.shape == (5, 32)
    assert difference(plain_NF, tacit_NF) < 1e-3
    assert difference(plain_NF, tacit_NF[::-1]) > 0.1
    assert min(seconds) > 0


def test_a_long_recording_is_written_whole(tmp_path):
    assert sf.info(write_long("audio", 2, tmp_path / "x.wav")).duration == 120
    frozen = open_encoder(LIGHT["film"], write_encoder(LIGHT["film"], tmp_path / "eye"))
    film = write_long("video", 1, tmp_path / "x.mp4")
    assert len([*frozen.kind.pieces(film, (0.0, None))]) == 60


@pytest.mark.slow
def test_memory_is_measured_in_a_process_of_its_own(light, tmp_path):
    path = write_long("audio", 1, tmp_path / "x.wav")
    found = peak_of(light, path, "WAV")
    assert 1e6 < found.reading < found.whole < 4e9
    assert read_whole(light, path, "WAV").whole > found.reading
    with pytest.raises(EnvironmentFault, match="ended with"):
        peak_of(light, tmp_path / "none.wav", "WAV")


def test_nothing_is_asked_of_small_sizes_and_all_of_the_full_ones():
    assert plan(quick=True).is_full is False
    assert plan(quick=False).minutes == (10, 120)
    assert steps(plan(quick=False)) == len(MEASURED) + len(LIGHT)


@pytest.fixture
def two_threads():
    """Torch computes with two threads, so that it shows if something leaves it with one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_a_run_says_each_step_once_and_prints_what_follows_the_schema(monkeypatch, two_threads):
    said = []
    monkeypatch.setattr(features_outcome, "QUICK", TINY)
    monkeypatch.setattr(features_outcome, "run", lambda chosen, _watch: run(chosen, said.append))
    found = CliRunner().invoke(bench, ["features", "--quick", "--json"], catch_exceptions=False)
    document = json.loads(found.stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert document["benchmark"] == "features"
    assert [one["setting"]["recordings"] for one in document["figures"]] == [
        "speech", "speech", "pictures", "pictures", "WAV", "WAV", "film", "film",
    ]  # fmt: skip
    assert all(one["met"] for one in document["figures"] if one["unit"] == "")
    assert len(said) == len(set(said)) == steps(TINY)
    assert torch.get_num_threads() == 2
