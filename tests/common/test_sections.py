"""Settings that hold under privacy only: which lie on top of which, and what is refused."""

import pytest

from common.errors import ConfigError
from common.settings import load_study, study_names, to_yaml

STUDY = """\
name: good
classes: [a, b]
modalities:
  features_x: {options: {dim: 3}}
training: {learning_rate: 0.7, num_server_rounds: 40, batch_size: 8}
under_privacy:
  distributed:
    training: {learning_rate: 2.0, num_server_rounds: 20}
    privacy:
      sampling_rate: 1.0
    up_to_epsilon:
      4: {training: {learning_rate: 1.0}}
      1.5: {training: {learning_rate: 0.5}}
  local:
    training: {learning_rate: 0.1}
"""
SHARED, LOCAL = "privacy.mode=distributed", "privacy.mode=local"


@pytest.fixture
def load(tmp_path):
    def read(text, *settings):
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return load_study(str(path), settings)

    return read


def test_without_privacy_a_section_changes_nothing(load):
    plain = STUDY[: STUDY.index("under_privacy")]
    assert load(STUDY) == load(plain)


@pytest.mark.parametrize(
    ("pairs", "rate", "rounds"),
    [
        ((), 0.7, 40),
        ((LOCAL,), 0.1, 40),
        ((SHARED,), 2.0, 20),
        ((SHARED, "privacy.target_epsilon=4.5"), 2.0, 20),
        ((SHARED, "privacy.target_epsilon=4"), 1.0, 20),
        ((SHARED, "privacy.target_epsilon=3"), 1.0, 20),
        ((SHARED, "privacy.target_epsilon=1.5"), 0.5, 20),
        (("privacy.target_epsilon=1", SHARED), 0.5, 20),
        ((SHARED, "privacy.target_epsilon=1", "training.learning_rate=9"), 9.0, 20),
    ],
)
def test_the_mode_the_bound_and_what_is_typed_lie_on_top_of_each_other(load, pairs, rate, rounds):
    study = load(STUDY, *pairs)
    assert (study.training.learning_rate, study.training.num_server_rounds) == (rate, rounds)
    assert study.training.batch_size == 8
    assert study.privacy.sampling_rate == (1.0 if SHARED in pairs else 0.25)


def test_a_mode_that_the_study_itself_sets_chooses_the_section_too(load):
    study = load(STUDY + "privacy: {mode: local}\n")
    assert study.training.learning_rate == 0.1


def test_a_study_in_full_holds_what_was_chosen_and_no_section(load):
    study = load(STUDY, SHARED, "privacy.target_epsilon=1")
    assert "under_privacy" not in to_yaml(study)
    assert load(to_yaml(study)) == study


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  local:", "  lokal:", r"line 14: under_privacy\.lokal: expected one of local, distr"),
        ("{learning_rate: 0.1}", "{learning_rat: 0.1}", r"line 15: .*learning_rat.*nearest key"),
        ("{learning_rate: 0.1}", "{learning_rate: -1}", "line 15: .* is -1.0; expected"),
        ("{learning_rate: 0.1}", "{learning_rate: no}", "line 15: .*Float"),
        ("sampling_rate: 1.0", "mode: none", "line 10: .*cannot set what it depends on"),
        ("sampling_rate: 1.0", "target_epsilon: 1", "line 10: .*cannot set what it depends on"),
        ("      1.5: {", "      -1: {", "line 13: .*expected an ε above 0, found -1"),
        ("      1.5: {", "      few: {", "line 13: .*expected an ε above 0, found 'few'"),
        ("1.5: {training: {learning_rate: 0.5}}", "1.5: 3", "line 13: .*keys and values, found 3"),
    ],
)
def test_a_wrong_section_is_refused_with_its_line(load, old, new, said):
    mode = LOCAL if "0.1" in old else SHARED
    assert old in STUDY
    with pytest.raises(ConfigError, match=said):
        load(STUDY.replace(old, new), mode)


@pytest.mark.parametrize("found", ["3", "[1, 2]", "word"])
def test_sections_that_are_no_mapping_are_refused(load, found):
    plain = STUDY[: STUDY.index("under_privacy")]
    with pytest.raises(ConfigError, match="line 6: under_privacy: expected keys and values"):
        load(plain + f"under_privacy: {found}\n", SHARED)


@pytest.mark.parametrize("name", study_names())
@pytest.mark.parametrize("mode", ["local", "distributed"])
@pytest.mark.parametrize("epsilon", [0.5, 1, 3, 8, 50])
def test_the_sections_of_the_studies_that_come_with_tacit_hold(name, mode, epsilon):
    study = load_study(name, (f"privacy.mode={mode}", f"privacy.target_epsilon={epsilon}"))
    assert (study.privacy.mode, study.privacy.target_epsilon) == (mode, epsilon)
