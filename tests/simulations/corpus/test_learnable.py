"""Together the modalities tell more about persons never seen than any of them alone."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from client.data.load import load_site_data
from common.config import Modality, Study
from simulations.corpus import write_corpus
from simulations.corpus.latent import CLASSES, MODALITIES

OPTIONS = {"text": {"dim": 256}, "video": {"frames": 4, "side": 16}}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("learnable") / "corpus"
    return out, write_corpus(out, seed=11, sites=2, persons_per_site=50, clips_per_person=5)


def study():
    modalities = {name: Modality(options=OPTIONS.get(name, {})) for name in MODALITIES}
    return Study(name="learnable", classes=CLASSES, modalities=modalities)


def columns(site, modality):
    x = site.x[modality]
    features_NF = x.mean(axis=1) if x.ndim == 3 else x
    norm = 1.0 if modality == "text" else features_NF.shape[1] ** 0.5
    return 2 * features_NF / norm


def uar_of(sites, modalities):
    x_NF = np.concatenate([np.hstack([columns(s, m) for m in modalities]) for s in sites])
    y_N = np.concatenate([site.y_NC.argmax(axis=1) for site in sites])
    train_N = np.concatenate([site.split_N == "train" for site in sites])
    model = LogisticRegression(C=0.3, max_iter=300).fit(x_NF[train_N], y_N[train_N])
    return balanced_accuracy_score(y_N[~train_N], model.predict(x_NF[~train_N]))


@pytest.mark.slow
def test_modalities_together_beat_each_alone_and_stay_below_the_ceiling(written):
    out, report = written
    sites = [
        load_site_data(study(), out / "sites" / site.name / "manifest.csv") for site in report.sites
    ]
    alone = {name: uar_of(sites, [name]) for name in MODALITIES}
    together = uar_of(sites, MODALITIES)
    assert min(alone.values()) > report.chance + 0.1
    assert together > max(alone.values()) + 0.02
    assert together < report.ceiling_uar + 0.03
