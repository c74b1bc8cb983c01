from dataclasses import replace

import pytest
import torch
from torch import nn

from client.data.features.text import text_hash
from common.config import Modality, Model, Study
from common.errors import ConfigError
from common.inputs import input_shapes
from common.models.registry import build, build_for

STUDY = Study(
    name="registry",
    classes=("calm", "stressed"),
    modalities={
        "features_voice": Modality(options={"dim": 6}),
        "features_face": Modality(options={"dim": 4}),
    },
    model=Model(width=8, hidden=8),
)


def test_build_takes_its_shapes_from_the_study():
    model = build(STUDY)
    x = {"features_voice": torch.randn(3, 6), "features_face": torch.randn(3, 4)}
    assert model(x, torch.ones(3, 2, dtype=torch.bool)).shape == (3, 2)
    assert model.modalities == ("features_face", "features_voice")


def test_a_branch_has_its_modality_in_the_names_of_its_parameters():
    names = [name for name, _ in build(STUDY).named_parameters()]
    branches = {name.split(".")[1] for name in names if name.startswith("encoders.")}
    assert branches == {"features_voice", "features_face"}


def test_late_fusion_without_hidden_layers_is_multinomial_regression():
    study = replace(STUDY, model=Model(hidden=0, fusion="late"))
    model = build(study)
    assert sum(p.numel() for p in model.parameters()) == 2 * (6 + 4) + 2 * 2
    x = {"features_voice": torch.randn(5, 6), "features_face": torch.randn(5, 4)}
    with torch.no_grad():
        for parameter in model.parameters():
            nn.init.normal_(parameter)
    face, voice = (model.encoders[name].project for name in model.modalities)
    joined_BF = torch.cat([2 / 2 * x["features_face"], 2 / 6**0.5 * x["features_voice"]], dim=1)
    weight_CF = torch.cat([face.weight, voice.weight], dim=1)
    expected_BC = joined_BF @ weight_CF.T + face.bias + voice.bias
    torch.testing.assert_close(model(x, torch.ones(5, 2, dtype=torch.bool)), expected_BC)


def test_an_untrained_model_says_all_classes_alike():
    x = {"features_voice": torch.randn(5, 6), "features_face": torch.randn(5, 4)}
    for fusion in ("late", "masked_mean", "gated_attention", "transformer"):
        model = build(replace(STUDY, model=replace(STUDY.model, fusion=fusion)))
        assert model(x, torch.ones(5, 2, dtype=torch.bool)).abs().max() < 1e-4


def with_encoder(name):
    return replace(STUDY, modalities={"features_voice": Modality(encoder=name)})


@pytest.mark.parametrize(
    ("study", "shape", "said"),
    [
        (replace(STUDY, model=Model(fusion="mean")), (6,), "known are gated_attention, late"),
        (with_encoder("lstm"), (6,), "known are conv1d, conv2d, gru, linear, mlp"),
        (with_encoder("conv1d"), (6,), "use linear or mlp"),
        (with_encoder("mlp"), (5, 6), "use linear or conv1d"),
        (with_encoder("linear"), (1, 1, 1, 1), "does not read the shape"),
        (replace(with_encoder("mlp"), model=Model(hidden=0)), (6,), "hidden above 0"),
        (replace(STUDY, model=Model(width=0)), (6,), "width of at least 1"),
        (replace(STUDY, model=Model(hidden=1)), (6,), "hidden of 0"),
        (replace(STUDY, model=Model(hidden=-1)), (6,), "hidden of 0"),
        (replace(STUDY, model=Model(dropout=1.0)), (6,), "model.dropout"),
        (replace(STUDY, model=Model(modality_dropout=-0.1)), (6,), "model.modality_dropout"),
        (replace(STUDY, classes=("calm",)), (6,), "at least 2"),
        (replace(STUDY, modalities={}), (6,), "at least one"),
    ],
)
def test_what_makes_no_network_is_refused_by_name(study, shape, said):
    with pytest.raises(ConfigError, match=said):
        build_for(study, {"features_voice": shape, "features_face": shape})


def linear(modality, options=None):
    modalities = {modality: Modality(encoder="linear", options=options or {})}
    return build(replace(STUDY, modalities=modalities)).encoders[modality]


@pytest.mark.parametrize("modality", ["audio", "physio", "video"])
def test_a_linear_encoder_sees_equal_norms_however_many_features_there_are(modality):
    encoder = linear(modality)
    shape = input_shapes(replace(STUDY, modalities={modality: Modality()}))[modality]
    assert encoder.gain * shape[-1] ** 0.5 == pytest.approx(2.0)


def test_hashed_text_has_norm_one_as_its_encoder_expects():
    features = text_hash("One sentence of a few words, and another one.", 256)
    encoder = linear("text", {"dim": 256})
    assert encoder.gain * (features**2).sum() ** 0.5 == pytest.approx(2.0, rel=1e-4)


def test_hashed_words_behind_an_encoders_values_count_as_much_as_these():
    options = {"model": "bert", "sha256": "0" * 64, "dim": 16, "words": 256}
    chosen = Modality("encoder", encoder="linear", options=options)
    encoder = build(replace(STUDY, modalities={"text": chosen})).encoders["text"]
    assert encoder.project.in_features == 16 + 256
    assert encoder.gain * (16 + 16) ** 0.5 == pytest.approx(2.0)


def hiding(share):
    study = replace(STUDY, model=Model(hidden=0, fusion="late", modality_dropout=share))
    model = build(study)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if name.endswith("bias") else 0.0)
    return model


def logits_of_many(model, present=(True, True)):
    """Each present and shown modality adds exactly 1 to every logit."""
    x = {"features_voice": torch.randn(4000, 6), "features_face": torch.randn(4000, 4)}
    present_BM = torch.tensor(present).expand(4000, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model(x, present_BM)[:, 0]


def test_modality_dropout_hides_modalities_while_training_but_never_all():
    shown_B = logits_of_many(hiding(0.3).train())
    assert set(shown_B.tolist()) == {1.0, 2.0}
    # of 0.49 both stay, of 0.09 both would be hidden and so both stay
    assert (shown_B == 2).float().mean() == pytest.approx(0.58, abs=0.03)


def test_modality_dropout_leaves_a_clip_its_only_modality():
    assert set(logits_of_many(hiding(0.9).train(), (True, False)).tolist()) == {1.0}


def test_modality_dropout_ends_with_training():
    assert set(logits_of_many(hiding(0.9).eval()).tolist()) == {2.0}


@pytest.mark.parametrize(
    "model", [Model(hidden=0, fusion="late"), Model(hidden=0), Model(width=8, hidden=8)]
)
def test_every_seed_begins_with_a_model_of_its_own(model):
    """A site never sums twice over one model: another seed must get a second run past that."""
    study = replace(STUDY, model=model)
    first, again, other = (build(replace(study, seed=seed)).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
