"""Figures over the rate of missing modalities: what is run, what is kept, what is said."""

import json
from dataclasses import replace

import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

import tacit
from common.errors import ConfigError
from simulations import kept
from simulations.console import following
from simulations.crossval import Repeat
from simulations.missing import missing_json, plan_missing, run_missing, write_missing
from simulations.report.missing import missing_table


@pytest.fixture
def played(monkeypatch):
    """Runs that are not played: masking is worth two points, a missing modality costs ten."""
    log = []

    def run(study, _data, folder, name, _watch):
        folder.mkdir(parents=True)
        log.append((study.missing, name))
        worth = 0.02 if study.missing.fusion == "masked" else 0.0
        uar = 0.7 + worth - 0.1 * study.missing.rate + 0.001 * study.split.fold
        return Repeat(name, uar, 0.4, 8)

    monkeypatch.setattr(kept, "run_repeat", run)
    return log


def test_every_rate_and_fold_is_run_both_ways_with_equal_gaps(
    played, tiny_study, tiny_data, tmp_path
):
    plan = plan_missing(tiny_study(), "50,0", "clips", 2, 0, 1)
    found = run_missing(plan, tiny_data.root, tmp_path, following)
    assert [point.rate for point in found.by_treatment["zeros"]] == [0.0, 0.5]
    assert [point.repeats for point in found.by_treatment["masked"]] == [3, 6]
    half = [(m.fusion, m.seed, name) for m, name in played if m.rate == 0.5]
    masked, zeros = half[:6], half[6:]
    assert [one[1:] for one in masked] == [one[1:] for one in zeros]
    assert {one[1] for one in masked} == {0, 1}
    assert {(m.by, m.evaluation) for m, _ in played} == {("clip", True)}
    assert found.gains[1] == pytest.approx((0.02, 0.0))


def test_what_has_finished_is_not_run_again(played, tiny_study, tiny_data, tmp_path):
    plan = plan_missing(tiny_study(), "50", "clients", 1, 0, 1)
    first = run_missing(plan, tiny_data.root, tmp_path, following)
    assert len(played) == 6
    assert {(m.by, m.evaluation) for m, _ in played} == {("person", False)}
    assert run_missing(plan, tiny_data.root, tmp_path, following) == first
    assert len(played) == 6


def test_table_picture_and_json_say_the_same(played, tiny_study, tiny_data, tmp_path):
    plan = plan_missing(tiny_study(), "0,50", "clips", 1, 0, 1)
    found = run_missing(plan, tiny_data.root, tmp_path, following)
    picture = write_missing(found, tmp_path)
    assert imread(picture).shape[0] > 300
    kept_json = json.loads((tmp_path / "missing-clips.json").read_text())
    assert kept_json == json.loads(missing_json(found))
    cells = [list(column.cells) for column in missing_table(found).columns]
    assert cells[0] == ["0", "50"]
    assert cells[1][1] == "67.1 ± 0.1"
    assert cells[3][1] == "+2.00 ± 0.00"
    assert cells[4] == ["0.0", "5.0"]


@pytest.mark.parametrize(
    ("rates", "protocol", "folds", "said"),
    [
        ("0,x", "clips", 0, "percents like"),
        ("0,96", "clips", 0, "from 0 to 95"),
        ("-1", "clips", 0, "from 0 to 95"),
        ("nan", "clips", 0, "from 0 to 95"),
        ("0", "people", 0, "clips or clients"),
        ("0", "clips", 1, "2 or more"),
    ],
)
def test_what_cannot_be_run_is_refused(tiny_study, rates, protocol, folds, said):
    with pytest.raises(ConfigError, match=said):
        plan_missing(tiny_study(), rates, protocol, 1, folds, 1)


def test_one_modality_cannot_be_missing(tiny_study):
    with pytest.raises(ConfigError, match="one modality"):
        plan_missing(tiny_study("modalities=features_a"), "0", "clips", 1, 0, 1)


def test_a_study_without_classes_is_refused(tiny_study):
    with pytest.raises(ConfigError, match="no classes"):
        plan_missing(replace(tiny_study(), classes=()), "0", "clips", 1, 0, 1)


def test_the_command_runs_for_real_and_prints_json_alone(tiny_yaml, tiny_data, tmp_path):
    """A whole study, half of its modalities missing, masked and filled with zeros."""
    args = ["missing", str(tiny_yaml), "training.num_server_rounds=1", "--rates", "60"]
    where = ["--data", str(tiny_data.root), "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(tacit.app, [*args, *where, "--folds", "2"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    uars = [found["by_treatment"][name][0]["uar"] for name in ("masked", "zeros")]
    assert all(0 < uar < 1 for uar in uars)
    assert uars[0] != uars[1]
