"""Studies that ask for more than a class, from a corpus with raters to a finished run's report."""

import csv
import json
import math
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console
from typer.testing import CliRunner

from client.commands import app as site_commands
from client.data.check import survey_for
from client.predict import by_person, measure, predict
from common.affect import is_told, lanes_of, read_described
from common.privacy.events import ExactThroughSecureSum
from common.privacy.ledger import Ledger
from common.settings import load_study
from simulations.corpus import write_corpus
from simulations.crossval import repeat_study, spread_table
from simulations.report import summary_screen, write_report
from simulations.result import read_result
from simulations.studies import simulate

YAML = """\
name: rated
classes: [anger, fear, joy, neutral, sadness]
dimensions:
  valence: {least: -1, most: 1}
  arousal: {}
labels:
  smiling: {}
  shouting: {column: loud}
modalities:
  physio: {}
  text: {options: {dim: 128}}
device: cpu
model: {hidden: 0, fusion: late}
training: {num_server_rounds: 12, local_epochs: 6, learning_rate: 0.3, evaluate_every: 12,
           class_target: raters}
"""
PRIVATE = (
    "privacy.mode=distributed",
    "privacy.sampling_rate=1.0",
    "privacy.max_grad_norm=0.1",
    "training.num_server_rounds=2",
    "training.server_learning_rate=4.0",
)


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    """Five sites of rated recordings, the study over them, and a manifest."""
    root = tmp_path_factory.mktemp("rated")
    write_corpus(root / "corpus", 3, 5, 6, 6, 5)
    path = root / "rated.yaml"
    path.write_text(YAML)
    return root / "corpus", lambda *pairs: load_study(str(path), pairs)


@pytest.fixture(scope="module")
def open_run(rated, tmp_path_factory):
    data, study = rated
    return simulate(study(), data, tmp_path_factory.mktemp("open") / "run")


@pytest.fixture(scope="module")
def private_run(rated, tmp_path_factory):
    data, study = rated
    return simulate(study(*PRIVATE), data, tmp_path_factory.mktemp("private") / "run")


def found(run):
    return read_described([line for line in run.progress() if is_told(line)][-1])


def test_without_privacy_every_kind_of_target_is_learned_on_persons_never_seen(open_run):
    told = found(open_run)
    assert told.classes.uar.value > 0.35  # chance is 0.2
    assert told.dimensions["arousal"].ccc.value > 0.4
    assert told.dimensions["arousal"].mse.value < told.dimensions["arousal"].variance
    assert set(told.labels.held) == {"smiling", "shouting"}
    assert told.raters.overlap.value > 0.3
    assert {view: type(ccc) for view, ccc in told.dimension_views["arousal"].items()} == {
        "only physio": float,
        "only text": float,
    }


def test_with_shared_noise_the_same_figures_come_out_and_every_one_is_finite(private_run):
    told = found(private_run)
    assert set(told.dimensions) == {"valence", "arousal"}
    for one in told.dimensions.values():
        assert all(map(math.isfinite, (one.ccc.value, one.mse.value, one.variance)))
        assert one.clips < told.classes.clips  # some clips were rated by nobody
    assert told.labels.answers == 2 * told.classes.clips
    assert told.raters is not None


def test_the_ledger_says_that_sums_of_ratings_left_exactly(private_run):
    for path in sorted(private_run.federation.glob("sites/*/ledger.sqlite")):
        with Ledger.open(path, site=path.parent.name) as ledger:
            exact = {e.what for e in ledger.events() if isinstance(e, ExactThroughSecureSum)}
        assert exact == {"evaluation counts and sums of ratings"}


@pytest.mark.parametrize("which", ["open_run", "private_run"])
def test_the_screen_and_the_page_show_every_target(which, request, tmp_path, shown):
    run = request.getfixturevalue(which)
    result = read_result(run, "in-process")
    page = write_report(result, tmp_path).read_text(encoding="utf-8")
    for said in (
        "CCC of valence",
        "MSE of arousal",
        "macro F1 of labels",
        "F1 of smiling",
        "votes placed alike",
        "What each modality tells beside the class",
        "valence (-1 to 1), arousal (-1 to 1)",
        "sums of ratings: exact, only as a sum over all sites, not differentially private",
    ):
        assert said in page
    screen = shown(summary_screen(result))
    for said in ("UAR", "CCC of valence", "macro F1 of labels"):
        assert said in screen


@pytest.fixture
def shown():
    def show(what):
        console = Console(file=StringIO(), width=80)
        console.print(what)
        return console.file.getvalue()

    return show


@pytest.mark.parametrize("left", [("classes",), ("classes", "labels"), ("classes", "dimensions")])
def test_a_study_without_classes_runs_reports_and_predicts(rated, left, tmp_path, shown):
    data, study = rated
    asked = study("training.class_target=given", "training.num_server_rounds=1")
    empty = {"classes": (), "dimensions": {}, "labels": {}}
    asked = replace(asked, **{name: empty[name] for name in left})
    run = simulate(asked, data, tmp_path / "run")
    result = read_result(run, "in-process")
    page = write_report(result, tmp_path / "page").read_text(encoding="utf-8")
    assert "What was taken for what" not in page
    assert "UAR" not in shown(summary_screen(result))
    manifest = data / "sites" / "aspen" / "manifest.csv"
    predicted = predict(run.root, manifest, labels=True)
    assert not measure(predicted).is_empty
    errors = [row.error for row in by_person(predicted)]
    assert errors == sorted(errors, reverse=True)
    out = tmp_path / "p.parquet"
    invoke = CliRunner().invoke
    done = invoke(site_commands, ["predict", str(run.root), str(manifest), "--out", str(out)])
    assert done.exit_code == 0, done.output
    done = invoke(site_commands, ["evaluate", str(run.root), str(manifest)])
    assert done.exit_code == 0, done.output
    assert "error %" in done.output


def test_crossval_says_mean_and_spread_of_every_main_figure(rated, tmp_path, shown):
    data, study = rated
    asked = study("training.num_server_rounds=1")
    (tmp_path / "out").mkdir()
    one = repeat_study(asked, data, tmp_path / "out", "seed 0", lambda line: None)
    line = json.loads((tmp_path / "out" / "repeats.jsonl").read_text())
    assert line["figures"] == one.figures
    table = shown(spread_table(asked, [one, replace(one, uar=one.uar + 0.02)]))
    assert "CCC" in table
    assert f"{100 * one.uar + 1:.1f} ± 1.4" in " ".join(table.split())


def test_the_values_of_a_prediction_lie_within_the_declared_range(open_run, rated):
    predicted = predict(open_run.root, rated[0] / "sites" / "aspen" / "manifest.csv", labels=False)
    assert ((predicted.said.place_NK >= 0) & (predicted.said.place_NK <= 1)).all()


def test_a_check_against_the_study_says_what_the_manifest_lacks(rated, tmp_path):
    data, _ = rated
    path = tmp_path / "rated.yaml"
    path.write_text(YAML)
    whole = survey_for(data / "sites" / "aspen" / "manifest.csv", str(path), None, (), 6)
    assert whole.problems == ()
    assert whole.ratings["smiling"].clips == whole.clips
    assert 0 < whole.ratings["valence"].clips < whole.clips
    with (data / "sites" / "aspen" / "manifest.csv").open() as file:
        rows = [
            {k: row[k] for k in ("sample_id", "person_id", "text")} for row in csv.DictReader(file)
        ]
    with (tmp_path / "bare.csv").open("w") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    bare = survey_for(tmp_path / "bare.csv", str(path), None, (), 6)
    for said in ("column 'valence' is missing", "column 'loud' is missing", "label or label_dist"):
        assert any(said in problem for problem in bare.problems), said


def test_what_a_site_adds_is_named_by_the_study_alone(rated):
    study = rated[1]()
    names = lanes_of(study)
    assert len(set(names)) == len(names)
    plain = lanes_of(
        replace(
            study, dimensions={}, labels={}, training=replace(study.training, class_target="given")
        )
    )
    assert names[: len(plain)] == plain
