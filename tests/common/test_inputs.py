import pytest

from client.data.features import FRONT_ENDS as IMPLEMENTED
from common.config import Modality, Study
from common.errors import ConfigError
from common.inputs import (
    DEFAULT_FRONT_END,
    FRONT_ENDS,
    KINDS,
    encoders_of,
    front_end_of,
    input_shapes,
    kind_of,
    options_of,
)


def test_every_front_end_is_implemented_and_every_kind_has_a_default():
    encoders = {name for name in FRONT_ENDS if name.endswith("_encoder")}
    assert set(FRONT_ENDS) == set(IMPLEMENTED) | encoders
    assert encoders == {f"{kind}_encoder" for kind in ("audio", "image", "text", "video")}
    assert set(DEFAULT_FRONT_END) == set(KINDS)
    assert all(FRONT_ENDS[name].modality == kind for kind, name in DEFAULT_FRONT_END.items())


def test_shapes_come_sorted_and_from_the_study_alone():
    study = Study(
        modalities={
            "video": Modality(options={"frames": 4, "side": 10}),
            "features_face": Modality(options={"dim": 7}),
            "audio": Modality(front_end="logmel", options={"frames": 12}),
            "text": Modality(),
            "image": Modality(),
        }
    )
    assert input_shapes(study) == {
        "audio": (12, 40),
        "features_face": (7,),
        "image": (1, 32, 32),
        "text": (4096,),
        "video": (4, 100),
    }
    assert list(input_shapes(study)) == sorted(study.modalities)


@pytest.mark.parametrize("name", ["features", "features_voice", "audio", "physio"])
def test_known_modalities(name):
    assert kind_of(name) == name.split("_")[0]


@pytest.mark.parametrize(
    ("modality", "settings", "said"),
    [
        ("vidio", Modality(), "did you mean 'video'"),
        ("audio", Modality(front_end="logmell"), "did you mean 'logmel'"),
        ("audio", Modality(front_end="gray32"), "does not read audio"),
        ("audio", Modality(options={"dim": 3}), "unknown option 'dim'; known: none"),
        ("text", Modality(options={"dmi": 3}), "did you mean 'dim'"),
        ("features", Modality(), "options.dim: expected a whole number"),
        ("features", Modality(options={"dim": 0}), "found 0"),
        ("features", Modality(options={"dim": True}), "found True"),
        ("features", Modality(options={"dim": 2.5}), "found 2.5"),
        ("video", Modality(options={"frames": 10**9}), "from 1 to 65536"),
    ],
)
def test_a_modality_that_is_not_well_described_is_refused(modality, settings, said):
    with pytest.raises(ConfigError, match=r"modalit") as refusal:
        options_of(modality, settings)
    assert said in str(refusal.value)


FROZEN = {"model": "wavlm-base", "sha256": "0" * 64, "dim": 768}


def test_encoder_is_the_one_for_the_kind_and_its_size_is_declared():
    study = Study(
        modalities={
            "audio": Modality("encoder", options=FROZEN),
            "video": Modality("video_encoder", options={**FROZEN, "model": "dinov2", "dim": 384}),
            "text": Modality(),
        }
    )
    assert front_end_of("audio", study.modalities["audio"]) == "audio_encoder"
    assert input_shapes(study) == {"audio": (768,), "text": (4096,), "video": (384,)}
    assert encoders_of(study) == {"wavlm-base": "0" * 64, "dinov2": "0" * 64}


@pytest.mark.parametrize(
    ("modality", "changes", "said"),
    [
        ("audio", {"model": "../x"}, "an encoder's name"),
        ("audio", {"model": None}, "an encoder's name"),
        ("audio", {"sha256": "abc"}, "tacit data encoder"),
        ("audio", {"sha256": None}, "tacit data encoder"),
        ("audio", {"dim": None}, "dim: expected a whole number"),
        ("audio", {"layer": 1.5}, "a whole number"),
        ("audio", {"pooling": "max"}, "mean or first"),
        ("audio", {"chunk_s": 1000}, "from 1 to 60"),
        ("audio", {"frames_hz": 1}, "unknown option 'frames_hz'"),
        ("video", {"frames_hz": 0}, "from 0.01 to 30"),
        ("text", {"chunk_s": 5}, "unknown option 'chunk_s'"),
        ("text", {"words": -1}, "from 0 to 65536"),
        ("text", {"words": 0.5}, "from 0 to 65536"),
        ("audio", {"words": 8}, "unknown option 'words'"),
        ("audio", {"path": "/etc"}, "unknown option 'path'"),
        ("physio", {}, "'physio_encoder' does not read physio"),
        ("features", {}, "does not read features"),
    ],
)
def test_an_encoder_that_is_not_well_described_is_refused(modality, changes, said):
    with pytest.raises(ConfigError) as refusal:
        options_of(modality, Modality("encoder", options={**FROZEN, **changes}))
    assert said in str(refusal.value)


def test_hashed_words_add_their_places_to_an_encoder_of_text():
    settings = Modality("encoder", options={**FROZEN, "words": 256})
    assert input_shapes(Study(modalities={"text": settings})) == {"text": (768 + 256,)}


def test_one_name_means_one_encoder():
    other = {**FROZEN, "sha256": "1" * 64}
    study = Study(
        modalities={
            "audio": Modality("encoder", options=FROZEN),
            "text": Modality("encoder", options=other),
        }
    )
    with pytest.raises(ConfigError, match="has another one"):
        encoders_of(study)


def test_a_study_without_modalities_is_refused():
    with pytest.raises(ConfigError, match="found none"):
        input_shapes(Study())
