import pytest

from client.data.features import FRONT_ENDS as IMPLEMENTED
from common.config import Modality, Study
from common.errors import ConfigError
from common.inputs import (
    DEFAULT_FRONT_END,
    FRONT_ENDS,
    KINDS,
    input_shapes,
    kind_of,
    options_of,
)


def test_every_front_end_is_implemented_and_every_kind_has_a_default():
    assert set(FRONT_ENDS) == set(IMPLEMENTED)
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


def test_a_study_without_modalities_is_refused():
    with pytest.raises(ConfigError, match="found none"):
        input_shapes(Study())
