"""A whole study with a frozen encoder as its front end, and the sites' say in it."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from client.commands import app
from client.data.encoders.folder import look_through
from client.data.encoders.loading import write_untrained
from client.predict import predict
from common.config import FrozenEncoder, Modality
from common.errors import ConfigError
from common.settings import load_policy, load_study
from simulations.corpus import write_corpus
from simulations.result import read_result
from simulations.studies import simulate

SETTINGS = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 64, "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 2}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus") / "corpus"
    write_corpus(out, 3, sites=3, persons_per_site=6, clips_per_person=4)
    return out


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "wavlm-tiny"
    write_untrained(folder, "WavLM", "Wav2Vec2FeatureExtractor", SETTINGS, seed=1)
    return folder


@pytest.fixture
def study(encoder):
    demo = load_study("demo")
    options = {"model": "wavlm-tiny", "sha256": look_through(encoder).sha256, "dim": 32}
    return replace(
        demo,
        name="frozen",
        device="cpu",
        modalities={"audio": Modality("encoder", options=options)},
        training=replace(demo.training, num_server_rounds=2, evaluate_every=2),
        privacy=replace(demo.privacy, mode="none"),
    )


def test_a_study_trains_on_what_an_encoder_hears(study, corpus, encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("TACIT_ENCODERS", str(encoder.parent))
    run = simulate(study, corpus, tmp_path / "run", "in-process")
    assert read_result(run, "in-process").metrics.clips > 0
    site = next((run.federation / "sites").iterdir())
    assert load_policy(site / "policy.yaml").encoders == {"wavlm-tiny": FrozenEncoder(str(encoder))}
    assert "path" not in (run.root / "study.yaml").read_text()
    manifest = next(corpus.glob("sites/*/manifest.*"))
    kept = manifest.parent / ".features" / "encoders"
    assert [path.name.partition("-")[0] for path in kept.iterdir()] == ["wavlm"]
    found = predict(run.root, manifest, labels=False)
    assert np.isfinite(found.shares).all()
    monkeypatch.delenv("TACIT_ENCODERS")
    with pytest.raises(ConfigError, match="no encoder 'wavlm-tiny'"):
        predict(run.root, manifest, labels=False)
    typed = ["predict", str(run.root), str(manifest), "--out", str(tmp_path / "p.parquet")]
    answer = CliRunner().invoke(app, [*typed, "--encoder", f"wavlm-tiny={encoder}"])
    assert answer.exit_code == 0, answer.output
