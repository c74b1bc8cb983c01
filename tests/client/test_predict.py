"""A finished run's model on a manifest: probabilities, figures, and what is refused."""

import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from client.commands import app
from client.predict import by_person, measure, predict, write_probabilities
from common.errors import ConfigError, DataError

run = CliRunner()


@pytest.fixture
def manifest(tiny_data):
    return tiny_data.root / "sites" / "hill" / "manifest.csv"


def test_every_clip_gets_probabilities(open_run, manifest, tiny_data):
    found = predict(open_run.run.root, manifest, labels=False)
    assert found.data.sample_ids == tuple(row.sample_id for row in tiny_data.rows["hill"])
    assert found.shares.shape == (48, 3)
    assert np.allclose(found.shares.sum(1), 1, atol=1e-5)


def test_the_parquet_file_says_what_the_model_says(open_run, manifest, tmp_path):
    found = predict(open_run.run.root, manifest, labels=False)
    write_probabilities(found, tmp_path / "deep" / "out.parquet")
    table = pq.read_table(tmp_path / "deep" / "out.parquet").to_pydict()
    classes = found.study.classes
    assert list(table) == ["sample_id", "person_id", "label", *(f"p_{name}" for name in classes)]
    columns = np.array([table[f"p_{name}"] for name in classes]).T
    assert np.array_equal(columns.astype(np.float32), found.shares)
    assert table["label"] == [classes[k] for k in columns.argmax(1)]
    assert table["person_id"][0] == "patient-hill-0"


def test_a_csv_file_says_the_same(open_run, manifest, tmp_path):
    found = predict(open_run.run.root, manifest, labels=False)
    for name in ("a.csv", "a.parquet"):
        write_probabilities(found, tmp_path / name)
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    expected = pq.read_table(tmp_path / "a.parquet").to_pandas()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a.csv"), expected, check_dtype=False)


def test_another_ending_is_refused_before_anything_is_read(open_run, tmp_path):
    asked = ["predict", str(open_run.run.root), "nowhere.csv", "--out", str(tmp_path / "a.xlsx")]
    with pytest.raises(ConfigError, match=r"a\.xlsx: expected .* \.parquet or \.csv"):
        run.invoke(app, asked, catch_exceptions=False)


def test_figures_of_training_clips_come_with_a_warning(open_run, manifest):
    asked = ["evaluate", str(open_run.run.root), str(manifest)]
    assert "split=train" not in run.invoke(app, asked).output
    marked = manifest.with_name("marked.csv")
    table = pd.read_csv(manifest).assign(split="")
    table.loc[table.person_id == table.person_id[0], "split"] = "train"
    table.to_csv(marked, index=False)
    said = " ".join(run.invoke(app, [*asked[:2], str(marked)]).output.split())
    assert f"{(table.split == 'train').sum()} of 48 clips are marked split=train" in said


def test_figures_are_those_counted_by_hand(open_run, manifest, tiny_data):
    found = predict(open_run.run.root, manifest, labels=True)
    classes = found.study.classes
    truth = np.array([classes.index(row.label) for row in tiny_data.rows["hill"]])
    given = found.shares.argmax(1)
    metrics = measure(found).classes
    recalls = [(given[truth == k] == k).mean() for k in range(3)]
    assert metrics.uar.value == pytest.approx(np.mean(recalls))
    assert metrics.accuracy.value == pytest.approx((given == truth).mean())
    assert (metrics.clips, metrics.persons) == (48, 6)
    confusion = [[int(((truth == a) & (given == b)).sum()) for b in range(3)] for a in range(3)]
    assert np.array_equal(metrics.confusion_CC, confusion)


def test_persons_come_worst_first(open_run, manifest, tiny_data):
    found = predict(open_run.run.root, manifest, labels=True)
    rows = by_person(found)
    assert sorted(row.person_id for row in rows) == sorted(
        {row.person_id for row in tiny_data.rows["hill"]}
    )
    assert [row.uar for row in rows] == sorted(row.uar for row in rows)
    assert sum(row.clips for row in rows) == 48
    assert all(row.right <= row.clips for row in rows)


def test_a_site_that_lacks_a_modality_is_predicted_from_the_other(open_run, tiny_data):
    path = tiny_data.root / "sites" / "mill" / "manifest.csv"
    assert measure(predict(open_run.run.root, path, labels=True)).classes.uar.value > 0.6


def test_labels_are_needed_to_evaluate_and_not_to_predict(
    open_run, own_data, write_manifest, tmp_path
):
    unlabelled = tuple(row.__class__(**{**vars(row), "label": ""}) for row in own_data.rows["hill"])
    write_manifest(tmp_path / "manifest.csv", unlabelled)
    assert len(predict(open_run.run.root, tmp_path / "manifest.csv", labels=False).data) == 48
    with pytest.raises(DataError):
        predict(open_run.run.root, tmp_path / "manifest.csv", labels=True)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda root: (root / "model.safetensors").unlink(), "holds no finished run"),
        (lambda root: (root / "study.yaml").unlink(), "study.yaml"),
        (lambda root: (root / "model.safetensors").write_bytes(b"x" * 20), "is not the model"),
        (
            lambda root: (root / "study.yaml").write_text(
                (root / "study.yaml").read_text().replace("dim: 6", "dim: 7")
            ),
            "is not the model",
        ),
    ],
    ids=["no model", "no study", "broken model", "another study"],
)
def test_what_is_no_finished_run_is_refused(open_run, manifest, tmp_path, harm, said):
    shutil.copytree(open_run.run.root, tmp_path / "run")
    harm(tmp_path / "run")
    with pytest.raises(ConfigError, match=said):
        predict(tmp_path / "run", manifest, labels=False)


def test_a_manifest_that_is_missing_is_refused(open_run, tmp_path):
    with pytest.raises(DataError):
        predict(open_run.run.root, tmp_path / "nothing.csv", labels=False)


def test_the_commands_write_and_print(open_run, manifest, tmp_path):
    out = tmp_path / "p.parquet"
    done = run.invoke(app, ["predict", str(open_run.run.root), str(manifest), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "48 clips of 6 persons" in " ".join(done.output.split())
    assert pq.read_table(out).num_rows == 48
    done = run.invoke(app, ["evaluate", str(open_run.run.root), str(manifest)])
    assert done.exit_code == 0, done.output
    for word in ("UAR", "weighted F1", "serene", "worst first"):
        assert word in done.output
