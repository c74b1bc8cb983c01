"""The real corpora: what the importers make of them agrees with what came with them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold

from client.data.check import check_manifest
from client.data.importers import import_corpus
from client.data.load import load_site_data
from common.settings import load_study

pytestmark = pytest.mark.corpora


@pytest.fixture
def imported(corpora, tmp_path):
    return lambda preset: import_corpus(preset, corpora / preset, tmp_path / "out")


def table_of(report):
    return pd.concat([pd.read_csv(path) for path in report.manifests]).set_index("sample_id")


def uar(report, study, strength, kept=None):
    """Logistic regression over persons not seen, on features as they are."""
    sites = [load_site_data(study, path, kept) for path in report.manifests]
    x = np.concatenate([np.concatenate(list(s.x.values()), axis=1) for s in sites])
    y = np.concatenate([s.y_NC.argmax(axis=1) for s in sites])
    person = np.concatenate([np.array(s.person_ids)[s.person_N] for s in sites])
    guess = np.empty_like(y)
    for train, test in GroupKFold(5, shuffle=True, random_state=0).split(x, y, person):
        model = LogisticRegression(C=strength, class_weight="balanced", max_iter=300)
        guess[test] = model.fit(x[train], y[train]).predict(x[test])
    return 100 * recall_score(y, guess, average="macro")


def test_cremad_votes(imported):
    report = imported("cremad_votes")
    assert (sum(report.rows.values()), len(report.rows), report.persons) == (5966, 6, 73)
    assert uar(report, load_study("cremad_votes"), 1.0) > 76


def test_ravdess_names_agree_with_its_index(imported, corpora):
    rows = table_of(imported("ravdess"))
    index = pd.read_parquet(corpora / "ravdess" / "index.parquet").set_index("sample_id")
    assert set(rows.index) == set(index.index)
    rows = rows.loc[index.index]
    assert (rows["label"] == index["label"]).all()
    assert (rows["person_id"] == index["subject_id"]).all()
    assert (rows["group_sex"].str[0] == index["gender"]).all()


@pytest.mark.slow
def test_speech_functionals_on_new_persons(imported, tmp_path):
    report = imported("ravdess")
    for normalise, floor in (("none", 54), ("person", 64)):
        study = load_study("ravdess", [f"normalise={normalise}"])
        assert uar(report, study, 0.01, tmp_path / "kept") > floor


def test_stress_windows_agree_with_the_reference(imported, corpora):
    rows = table_of(imported("stress_predict"))
    known = pd.read_parquet(corpora / "stress_predict" / "windows60s.parquet")
    known = known.set_index("sample_id")
    assert set(rows.index) == set(known.index)
    rows = rows.loc[known.index]
    assert (rows["start_s"] == known["start_s"]).all()
    assert ((rows["label"] == "stress") == (known["label"] == 1)).all()


@pytest.mark.slow
def test_physio_functionals_on_new_persons(imported, tmp_path):
    report = imported("stress_predict")
    for normalise, floor in (("none", 65), ("person", 73)):
        study = load_study("stress_predict", [f"normalise={normalise}"])
        assert uar(report, study, 0.03, tmp_path / "kept") > floor


def test_the_protocols_order_is_warned_of(imported):
    report = check_manifest(imported("stress_predict").manifests[0])
    assert report.guessed["the start of a clip"] > 0.8
    assert any("start of a clip" in warning for warning in report.warnings)


def test_meld_has_fedmultimodals_clients(imported):
    report = imported("meld")
    rows = table_of(report)
    assert len(report.rows) == 86
    assert (rows["split"] == "train").sum() == 7318
    assert (rows["split"] == "validation").sum() == 897
    assert rows.groupby("person_id")["split"].nunique().max() == 1
