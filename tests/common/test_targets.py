"""What a study may ask for, how it reads in YAML, and that older studies stay what they were."""

import dataclasses
import hashlib

import pytest

from common.affect.evaluation import counting_lanes, lanes_of
from common.config import LATER, Study
from common.errors import ConfigError
from common.ratings import Dimension, Label
from common.settings import config_hash, differences_yaml, load_study, to_yaml
from common.sums import evaluate_layout
from common.targets import asked_for, targets_of

HEAD = "name: x\nmodalities: {audio: {}}\n"
RATED = (
    HEAD
    + """\
classes: [a, b]
dimensions:
  valence: {}
  tension: {least: 1, most: 9, column: rated_tension}
labels:
  laughter: {}
  tears: {column: cries}
"""
)


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "x.yaml"

    def read(text, *pairs):
        path.write_text(text)
        return load_study(str(path), pairs)

    return read


def test_dimensions_and_labels_read_as_they_stand(load):
    study = load(RATED, "dimensions.valence.most=2")
    assert study.dimensions["valence"] == Dimension(-1, 2)
    assert study.dimensions["tension"] == Dimension(1, 9, "rated_tension")
    assert study.labels == {"laughter": Label(), "tears": Label("cries")}
    targets = targets_of(study)
    assert (targets.scores, targets.columns) == (6, 10)
    assert [scale.column for scale in targets.scales.values()] == [
        "valence", "rated_tension", "laughter", "cries",
    ]  # fmt: skip
    assert targets.dimensions["tension"].place(7) == 0.75
    assert asked_for(study) == "a, b, valence, tension, laughter, tears"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "classes is .*or dimensions, or labels"),
        (HEAD + "dimensions: {valence: {least: 1, most: 1}}\n", "line 3: dimensions.valence is"),
        (HEAD + "dimensions:\n  ok: {}\n  bad: {least: 2}\n", "line 5: dimensions.bad is"),
        (HEAD + "dimensions: {valence: {least: .nan}}\n", "line 3: dimensions.valence"),
        (HEAD + "dimensions: {valence: {lest: 1}}\n", "line 3: .*lest"),
        (HEAD + "dimensions: {valence: null}\n", "line 3: "),
        (HEAD + "dimensions: {a b: {}}\n", "line 3: dimensions.a b is"),
        (HEAD + "labels: {group_sex: {}}\n", "line 3: labels.group_sex is"),
        (HEAD + "labels: {sex: {column: group_sex}}\n", "line 3: labels.sex is"),
        (HEAD + "labels: {who: {column: person_id}}\n", "line 3: labels.who is"),
        (HEAD + "labels: {v: {}}\ndimensions: {v: {}}\n", "v is a dimension and a label"),
        (HEAD + "labels: {v: {column: c}, w: {column: c}}\n", "v reads the column 'c'"),
        (HEAD + "labels: {v: {column: label}}\n", "v reads the column 'label'"),
        (HEAD + "labels: {v: {}}\ntraining: {class_target: raters}\n", "raters needs classes"),
        (HEAD + "classes: [a, b]\ntraining: {class_target: votes}\n", "line 4: .*class_target"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_with_its_line(load, text, said):
    with pytest.raises(ConfigError, match=said):
        load(text)


def test_a_study_with_targets_reads_back_to_an_equal_one(load):
    study = load(RATED, "training.class_target=majority")
    assert load(to_yaml(study)) == load(differences_yaml(study)) == study
    assert config_hash(load(to_yaml(study))) == config_hash(study)
    assert config_hash(load(RATED)) != config_hash(study)


GOLDEN = {
    "none": (
        "775959cb7cdcba5db909498b8fafd58ab09a8e572383dc5f138395233c45fe25",
        "4779aa4aee3014f16694a69f8d43ba2ddcc020fea00432dad7a5be1cbf69fde2",
    ),
    "distributed": (
        "19171021514d7eee3dafbc964daf7e60218bc9dddac9a5e282a0d4cbf2f38fac",
        "68dcc70c4e0cb55f8ddc69c9782e60c2ab1e594ccec45714286c5e3abe6851aa",
    ),
}
"""Mode -> hash of a plain study, and SHA-256 of its YAML, from before it could ask for more."""


@pytest.mark.parametrize("mode", GOLDEN)
def test_a_study_of_classes_alone_is_hashed_and_written_as_before_there_was_more(load, mode):
    """Quotes written.plain: written, and hashed, as it was before there were any."""
    study = load(HEAD + "classes: [a, b]\n", f"privacy.mode={mode}")
    written = hashlib.sha256(to_yaml(study).encode()).hexdigest()
    assert (config_hash(study).hex(), written) == GOLDEN[mode]


def test_settings_that_came_later_have_a_default():
    later = [item for item in dataclasses.fields(Study) if item.metadata == LATER]
    assert {item.name for item in later} >= {"dimensions", "labels"}
    assert all(item.default_factory is not dataclasses.MISSING for item in later)


def test_an_evaluation_of_classes_alone_has_the_lanes_that_it_had(load):
    plain = load(HEAD + "classes: [a, b]\n")
    assert lanes_of(plain) == counting_lanes(plain)
    rated = load(RATED)
    assert [lane.name for lane in evaluate_layout(rated, 5).exacts] == list(lanes_of(rated))
    caps = {lane.cap for lane in evaluate_layout(rated, 5).exacts}
    assert caps == {1 << 48, (1 << 62) // 5}
