"""A wrong key or value is refused, with its line, what was expected, and the nearest key."""

import dataclasses
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import client.train
import server.optimizer
from common.chosen import check_heeded
from common.config import Modality, SitePolicy, Study
from common.errors import ConfigError, ExitCode
from common.rules import flat_keys
from common.settings import (
    config_hash,
    find_study,
    load_policy,
    load_study,
    overrides_from_run_config,
    study_names,
    to_yaml,
)

GOOD = """\
name: good
classes: [a, b]
modalities:
  features_x: {options: {dim: 3}}
"""


@pytest.fixture
def load(tmp_path):
    def read(text, *settings):
        path = tmp_path / "study.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_study(str(path), settings)

    return read


def test_the_defaults_are_those_of_the_dataclasses(load):
    study = load(GOOD)
    assert study == Study(
        name="good",
        classes=("a", "b"),
        modalities={"features_x": Modality(options={"dim": 3})},
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "training:\n  learningrate: 3\n",
            r"line 6: .*learningrate.*nearest .*\.lear",
        ),
        ("lerning: 3\n", r"line 5: .*lerning.*"),
        ("sead: 3\n", r"line 5: .*nearest key is seed"),
        ("model: {fusio: late}\n", r"line 5: .*nearest key is model\.fusion"),
        ("training:\n  learning_rate: fast\n", "line 6: .*fast.*Float"),
        ("training: 3\n", "line 5: "),
        ("training:\n  learning_rate: -1\n", "line 6: .* is -1.0; expected a number from"),
        ("training:\n  learning_rate: .nan\n", "line 6: .* is nan; expected a number"),
        ("training: {optimizer: sdg}\n", "line 5: .*'sdg'; expected one of sgd, adam"),
        ("training: {server_optimizer: x}\n", "line 5: .*'x'; expected one of fedavg, fedadam"),
        ("training: {batch_size: 0}\n", "line 5: .*batch_size is 0"),
        ("privacy: {mode: lokal}\n", "line 5: .*expected one of none, local, distributed"),
        ("privacy: {unit: people}\n", "line 5: .*expected one of person, record"),
        ("privacy: {noise_multiplier: 0}\n", "line 5: .*a number from 0.001"),
        ("privacy: {noise_multiplier: .inf}\n", "line 5: .*a number from 0.001"),
        ("privacy: {target_delta: 0}\n", "line 5: .*target_delta"),
        ("privacy: {sampling_rate: 1.5}\n", "line 5: .*sampling_rate is 1.5"),
        ("secure_aggregation: {min_sites: 2}\n", "line 5: .*min_sites is 2; expected .* 3"),
        ("secure_aggregation: {suite: rsa}\n", "line 5: .*x25519"),
        ("split: {folds: 3, fold: 3}\n", "split.fold is 3; expected 0 to 2"),
        ("split: {fold: 1}\n", "split.fold is 1; expected 0 to 0"),
        ("split: {folds: 3, fold: -1}\n", "split.fold is -1"),
        ("device: gpu\n", "line 5: .*auto, cpu or cuda"),
        ("training: {balance_over: x}\n", "line 5: .*'x'; expected one of site, all_sites"),
        (
            "training: {balance_over: all_sites}\nprivacy: {mode: local}\n",
            "balance_over=all_sites releases exact counts of classes",
        ),
        ("normalise: speaker\n", "line 5: .*none, person, federated"),
        ("name: twice\n", "duplicate key name"),
        ("purpose: ${oc.env:HOME}\n", r"line 5: .*is not allowed"),
        ("seed: null\n", "line 5: "),
        ("modalities: null\n", "duplicate key"),
    ],
)
def test_a_wrong_study_is_refused_with_its_line(load, more, said):
    with pytest.raises(ConfigError, match=said) as error:
        load(GOOD + more)
    assert error.value.exit_code == ExitCode.BAD_INPUT
    assert "study.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b\n", "line 1: expected keys and values"),
        ("just words\n", "just words"),
        ("", "name is ''"),
        ("# nothing\n", "name is ''"),
        ("name: [\n", "is not YAML"),
        (b"name: \xff\xfe\n", "UTF-8"),
        ("name: a b\nclasses: [a, b]\n", "line 1: name is 'a b'"),
        ("name: x\nclasses: [a]\n", "line 2: classes is .*2 to 64 different"),
        ("name: x\nclasses: [a, a]\n", "line 2: classes is"),
        ("name: x\nclasses: [a, b]\n", "modalities is"),
        ("name: x\nclasses: [a, b]\nmodalities: {audio: null}\n", "line 3: "),
        ("name: x\nclasses: [a, b]\nmodalities:\n  audio: {optons: {}}\n", "line 4: .*optons"),
    ],
)
def test_what_is_no_study_is_refused(load, text, said):
    with pytest.raises(ConfigError, match=said):
        load(text)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("seed", "'seed' is not a setting: expected key=value"),
        ("=3", "is not a setting"),
        ("seed=", "seed="),
        ("seed=x", "in 'seed=x': .*Integer"),
        ("seed=[", "is not a setting"),
        ("training.lr=1", "in 'training.lr=1': .*lr"),
        ("training=3", "in 'training=3'"),
        ("privacy.mode=x", "in 'privacy.mode=x': privacy.mode is 'x'"),
        ("split.fold=9", "split.fold is 9"),
        ("purpose=${oc.env:HOME}", "is not allowed"),
        ("a.b.c=3", "in 'a.b.c=3'"),
    ],
)
def test_a_wrong_setting_is_refused_and_named(load, pair, said):
    with pytest.raises(ConfigError, match=re.compile(said)):
        load(GOOD, pair)


@settings(max_examples=25)
@given(st.text(max_size=40))
def test_no_setting_whatever_ends_in_anything_but_a_study_or_a_sentence(pair):
    path = str(find_study("cremad_votes"))
    with suppress(ConfigError):
        found, plain = load_study(path, (pair,)), load_study(path)
        assert isinstance(found, Study)
        key = pair.partition("=")[0].partition(".")[0]
        assert dataclasses.replace(found, **{key: getattr(plain, key)}) == plain


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=3))
def test_a_run_config_only_ever_sets_keys_of_a_study(config):
    for pair in overrides_from_run_config(config):
        assert pair.partition("=")[0] in flat_keys(Study)


def test_an_empty_value_in_a_run_config_means_what_the_study_says():
    given = {"seed": "", "training.num-server-rounds": 3, "study": "x", "run-dir": "/tmp"}
    assert overrides_from_run_config(given) == ("training.num_server_rounds=3",)


@pytest.mark.parametrize("name", study_names())
def test_every_study_that_comes_with_tacit_loads_and_is_named_like_its_file(name):
    assert load_study(name).name == name


def test_a_study_that_does_not_exist_is_refused_with_the_nearest_name():
    near = study_names()[0]
    with pytest.raises(ConfigError, match=f"Did you mean {near}"):
        load_study(near + "x")
    with pytest.raises(ConfigError, match="Known studies"):
        load_study("nothing-like-it")
    with pytest.raises(ConfigError, match=r"no/such\.yaml: no such file"):
        load_study("no/such.yaml")


def test_yaml_in_full_reads_back_to_an_equal_study(load):
    study = load(GOOD, "privacy.noise_multiplier=1.25", "seed=7", "model.dropout=0.25")
    assert load(to_yaml(study)) == study
    assert config_hash(load(to_yaml(study))) == config_hash(study)


def test_any_other_value_gives_another_hash(load):
    study = load(GOOD)
    seen = {config_hash(study)}
    for key, value in [
        ("seed", 1),
        ("privacy.mode", "local"),
        ("privacy.noise_multiplier", 2),
        ("training.learning_rate", 0.11),
        ("classes", "[b,a]"),
        ("modalities.features_x.options.dim", 4),
    ]:
        seen.add(config_hash(load(GOOD, f"{key}={value}")))
    assert len(seen) == 7


def test_the_optimizers_that_settings_know_are_those_that_there_are(load):
    for name in client.train.OPTIMIZERS:
        load(GOOD, f"training.optimizer={name}")
    for name in server.optimizer.OPTIMIZERS:
        load(GOOD, f"training.server_optimizer={name}")
    assert len(client.train.OPTIMIZERS) == len(server.optimizer.OPTIMIZERS) == 2


POLICY = "site: hill\npurposes: [research]\ndeclared_persons: 5\n"


def policy(tmp_path, text):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return load_policy(path)


def test_a_policy_denies_by_default(tmp_path):
    found = policy(tmp_path, "site: hill\ndeclared_persons: 1\n")
    assert (found.purposes, found.max_epsilon, found.allow_without_privacy) == ((), 0.0, False)
    assert found.reproducible_seed is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("max_epsilom: 3\n", "line 4: .*nearest key is max_epsilon"),
        ("max_epsilon: -1\n", "line 4: max_epsilon is -1"),
        ("delta: 1\n", "line 4: delta is 1"),
        ("min_sites: 2\n", "line 4: min_sites is 2"),
        ("min_persons: 0\n", "line 4: min_persons is 0"),
        ("site: '../x'\n", "duplicate key site"),
    ],
)
def test_a_wrong_policy_is_refused_with_its_line(tmp_path, more, said):
    with pytest.raises(ConfigError, match=said):
        policy(tmp_path, POLICY + more)


def test_a_policy_reads_back_to_an_equal_one(tmp_path):
    found = policy(tmp_path, POLICY)
    changed = dataclasses.replace(found, reproducible_seed=3, modalities=("audio",))
    assert policy(tmp_path, to_yaml(changed)) == changed
    assert isinstance(found, SitePolicy)


def test_a_sites_own_study_goes_before_one_of_the_same_name(tmp_path):
    text = find_study("cremad_votes").read_text()
    (tmp_path / "ours.yaml").write_text(text)
    (tmp_path / "demo.yaml").write_text(text)
    assert load_study("ours", (), tmp_path).classes == load_study("cremad_votes").classes
    assert load_study("demo", (), tmp_path).classes != load_study("demo").classes
    assert load_study("ravdess", (), tmp_path) == load_study("ravdess")


@pytest.mark.parametrize("name", ["../demo", "studies/demo", "/etc/passwd", "", ".", "a" * 65])
def test_a_name_that_is_no_name_finds_no_file(tmp_path, name):
    (tmp_path / "studies").mkdir()
    (tmp_path / "demo.yaml").write_text(find_study("demo").read_text())
    with pytest.raises(ConfigError, match="There is no study"):
        find_study(name, tmp_path / "studies")


@pytest.mark.parametrize("pair", ["privacy.target_epsilon=4", "privacy.unit=record"])
def test_privacy_that_nothing_would_heed_is_refused(pair):
    """Or somebody who types an ε trains without privacy."""
    with pytest.raises(ConfigError, match="trains without privacy"):
        check_heeded(load_study("demo", ["privacy.mode=none", pair]), [pair])
    for typed in (["privacy.mode=none", pair], ["training.num_server_rounds=3"]):
        check_heeded(load_study("demo", ["privacy.mode=none", pair]), typed)
    check_heeded(load_study("demo", ["privacy.mode=local", pair]), ["privacy.mode=local", pair])


def test_a_study_s_file_that_lies_here_is_suggested(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").touch()
    with pytest.raises(ConfigError, match=r"Did you mean mine\.yaml\?"):
        find_study("mine")
