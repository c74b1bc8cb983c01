"""A whole run: what it leaves, and that equal seeds give equal runs."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from safetensors.numpy import load_file

from common.errors import ConfigError
from server.checkpoint import read_checkpoint
from simulations.studies import simulate

LOCAL = ("privacy.mode=local", "privacy.noise_multiplier=0.7")
SHARED = ("privacy.mode=distributed", "privacy.noise_multiplier=2.0")
ONE_ROUND = "training.num_server_rounds=1"


def metrics(run) -> list[object]:
    return [(line.get("metrics"), line.get("views")) for line in run.run.progress()]


def model_bytes(run) -> bytes:
    return run.run.model.read_bytes()


def test_a_finished_run_has_its_files(open_run):
    names = {path.name for path in open_run.run.root.iterdir()}
    assert {"study.yaml", "progress.jsonl", "checkpoint.safetensors", "model.safetensors"} <= names
    assert not list(open_run.run.root.rglob("*.part"))
    for site in open_run.run.federation.glob("sites/*"):
        assert {"policy.yaml", "identity.key", "roster.json", "ledger.sqlite", "locks.log"} <= {
            path.name for path in site.iterdir()
        }
        assert (site / "identity.key").stat().st_mode & 0o077 == 0
        assert (site / "ledger.sqlite").stat().st_mode & 0o077 == 0


def test_progress_tells_every_round_once_and_the_end(open_run):
    lines = open_run.run.progress()
    assert [line["event"] for line in lines] == ["started", *["round"] * 4, "finished"]
    assert [line["round"] for line in lines if line["event"] == "round"] == [1, 2, 3, 4]
    assert lines[0]["sites"] == ["harbour", "hill", "lake", "mill"]


def test_a_run_learns_what_can_be_learned(open_run):
    last = open_run.run.progress()[-2]
    assert last["metrics"]["uar"]["value"] > 0.8
    assert last["metrics"]["persons"] == 8  # a third of 24


def test_the_checkpoint_is_the_finished_model_with_its_history(open_run):
    kept = read_checkpoint(open_run.run.root / "checkpoint.safetensors")
    model = load_file(open_run.run.model)
    assert kept.round == 4
    assert [line["round"] for line in kept.history] == [1, 2, 3, 4]
    assert set(kept.model) == set(model)
    assert all(np.array_equal(kept.model[name], model[name]) for name in model)


def test_feature_statistics_travel_with_the_model(open_run):
    names = set(load_file(open_run.run.model))
    assert {"standardise.features_a.mean", "standardise.features_b.scale"} <= names


def test_watch_sees_each_line_of_progress_once(tiny_data, tiny_study, tmp_path):
    seen: list[dict[str, object]] = []
    study = tiny_study(ONE_ROUND)
    run = simulate(study, tiny_data.root, tmp_path / "run", watch=seen.append)
    assert seen == run.progress()


def test_equal_seeds_give_equal_runs_without_privacy(open_run, run_tiny):
    again = run_tiny("normalise=federated", "training.num_server_rounds=4")
    assert model_bytes(open_run) == model_bytes(again)
    assert metrics(open_run) == metrics(again)


def test_equal_seeds_give_equal_runs_with_dropout(run_tiny):
    settings = ("model.fusion=masked_mean", "model.hidden=8", "model.dropout=0.5", ONE_ROUND)
    settings += ("model.modality_dropout=0.3",)
    first, second = run_tiny(*settings), run_tiny(*settings)
    assert model_bytes(first) == model_bytes(second)


@pytest.mark.parametrize("privacy", [LOCAL, SHARED], ids=["local", "distributed"])
def test_reproducible_private_runs_are_equal(run_tiny, privacy):
    first = run_tiny(*privacy, ONE_ROUND, reproducible=True)
    second = run_tiny(*privacy, ONE_ROUND, reproducible=True)
    assert model_bytes(first) == model_bytes(second)
    assert metrics(first) == metrics(second)


def test_different_seeds_give_different_runs(open_run, run_tiny):
    other = run_tiny("normalise=federated", "training.num_server_rounds=4", "seed=1")
    assert model_bytes(open_run) != model_bytes(other)


@pytest.mark.parametrize("privacy", [LOCAL, SHARED], ids=["local", "distributed"])
def test_private_noise_is_never_drawn_twice(run_tiny, privacy):
    first, second = run_tiny(*privacy, ONE_ROUND), run_tiny(*privacy, ONE_ROUND)
    first_model, second_model = load_file(first.run.model), load_file(second.run.model)
    shared = {name for name in first_model if np.ptp(first_model[name])}
    assert shared
    for name in shared:
        assert not np.array_equal(first_model[name], second_model[name])


def test_an_earlier_run_is_never_written_over(tiny_data, tiny_study, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        simulate(tiny_study(), tiny_data.root, tmp_path / "run")


def test_an_unknown_engine_is_refused(tiny_data, tiny_study, tmp_path):
    with pytest.raises(ConfigError, match="expected one of flwr, in-process"):
        simulate(tiny_study(), tiny_data.root, tmp_path / "run", engine="ray")


def test_group_columns_and_names_of_persons_change_nothing(
    run_tiny: Callable, own_data, write_manifest
):
    everyone = ("split.folds=0", ONE_ROUND)
    before = run_tiny(*everyone, data=own_data.root)
    for site, rows in own_data.rows.items():
        renamed = [(row, f"other-{(5 * int(row.person_id[-1]) + 1) % 6}") for row in rows]
        assert len({name for _, name in renamed}) == len({row.person_id for row in rows})
        changed = tuple(row.__class__(**{**vars(row), "person_id": name}) for row, name in renamed)
        write_manifest(own_data.root / "sites" / site / "manifest.csv", changed, group="fmx")
    after = run_tiny(*everyone, data=own_data.root)
    assert model_bytes(before) == model_bytes(after)


def test_the_study_in_the_folder_is_resolved(shared_run):
    assert shared_run.study.privacy.noise_multiplier == 2.0
    assert json.loads((shared_run.run.federation / "roster.json").read_text())["version"] == 1
