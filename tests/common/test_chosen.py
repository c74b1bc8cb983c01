"""A study with some of its modalities alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.chosen import chosen_modalities
from common.errors import ConfigError
from common.settings import config_hash, load_study
from common.sums import parameters_of


@pytest.mark.parametrize("pair", ["modalities=features_voice", "modalities=[features_voice]"])
def test_one_modality_is_kept_and_the_rest_dropped(pair):
    study = load_study("cremad_votes", (pair,))
    assert list(study.modalities) == ["features_voice"]
    assert (
        study.modalities["features_voice"]
        == load_study("cremad_votes").modalities["features_voice"]
    )
    assert parameters_of(study) == 48


def test_all_of_them_in_any_order_are_the_study_itself():
    both = load_study("cremad_votes", ("modalities=features_voice, features_face",))
    assert config_hash(both) == config_hash(load_study("cremad_votes"))


def test_the_last_choice_holds_and_other_settings_with_it():
    pairs = ("modalities=text", "seed=3", "modalities=audio,video")
    study = load_study("demo", pairs)
    assert sorted(study.modalities) == ["audio", "video"]
    assert study.seed == 3


def test_a_section_under_privacy_does_not_bring_a_modality_back():
    """meld's sections name the text's options."""
    study = load_study("meld", ("modalities=features_prosody", "privacy.mode=distributed"))
    assert list(study.modalities) == ["features_prosody"]


def test_a_modality_that_the_study_lacks_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no 'features_vioce'.*Did you mean features_voice\?"):
        load_study("cremad_votes", ("modalities=features_vioce",))


def test_a_mapping_still_adds_to_the_study():
    study = load_study("cremad_votes", ("modalities={text: {options: {dim: 16}}}",))
    assert sorted(study.modalities) == ["features_face", "features_voice", "text"]


@given(st.text())
def test_no_other_setting_is_taken_for_a_choice(text):
    pair = f"training.{text}"
    assert chosen_modalities((pair,)) == ((pair,), ())
