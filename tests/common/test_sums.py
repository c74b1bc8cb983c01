"""The layout of each task's vector follows from the study alone."""

import pytest

from common.config import Modality, Model, Privacy, SecureAggregation, Study, Training
from common.ratings import Label
from common.sums import (
    counts_shape,
    evaluate_layout,
    parameters_of,
    policy_for,
    statistics_layout,
    statistics_shapes,
    train_layout,
    trained_shapes,
    weight_of,
)


def study_of(**changes):
    modalities = {
        "features_x": Modality(options={"dim": 3}),
        "audio": Modality(front_end="logmel", options={"frames": 8, "bands": 5}),
        "image": Modality(),
    }
    return Study(name="x", classes=("a", "b"), modalities=modalities, **changes)


def test_training_sums_every_trained_tensor_once_with_the_weight_of_its_group():
    study = study_of()
    layout = train_layout(study, 5)
    assert {real.name: real.shape for real in layout.reals} == trained_shapes(study)
    weights = {"weight/features_x", "weight/audio", "weight/image", "weight/all"}
    assert {weight.name for weight in layout.weights} == weights
    assert all(real.weight == weight_of(real.name) for real in layout.reals)
    assert all(real.scale == study.secure_aggregation.update_norm for real in layout.reals)
    assert layout.exacts == ()
    assert layout.fields == parameters_of(study)


@pytest.mark.parametrize(("cap", "power"), [(1, 1), (3, 4), (1024, 1024), (1025, 2048)])
def test_the_cap_of_a_weight_is_the_next_power_of_two(cap, power):
    layout = train_layout(study_of(secure_aggregation=SecureAggregation(weight_cap=cap)), 3)
    assert {weight.cap for weight in layout.weights} == {power}


@pytest.mark.parametrize("sites", [3, 40, 250])
def test_noise_in_shares_has_no_weights_and_fits_its_fields(sites):
    study = study_of(privacy=Privacy(mode="distributed", noise_multiplier=4.0))
    layout = train_layout(study, sites)
    assert layout.weights == ()
    names = [lane.name for lane in layout.exacts] + [real.name for real in layout.reals]
    assert sorted(names) == sorted([*trained_shapes(study), "declared_units"])


def test_statistics_are_of_features_over_clips_and_time_and_never_of_pictures():
    study = study_of(normalise="federated")
    assert statistics_shapes(study) == {"audio": (5,), "features_x": (3,)}
    lanes = {lane.name: lane.shape for lane in statistics_layout(study, 3).exacts}
    assert "class_counts" not in lanes
    assert lanes["count/audio"] == ()
    assert lanes["square/audio"] == lanes["sum/audio"] == (5,)


def test_statistics_are_a_task_only_where_the_study_asks_for_them(tiny_study, lay_table):
    roster = lay_table().roster
    assert set(policy_for(tiny_study(), roster).layouts) == {"train", "evaluate"}
    tasks = policy_for(tiny_study("normalise=federated"), roster).layouts
    assert set(tasks) == {"train", "evaluate", "statistics"}
    tasks = policy_for(tiny_study("training.balance_over=all_sites"), roster).layouts
    assert set(tasks) == {"train", "evaluate", "statistics"}
    unweighed = "training.balance_classes=false"
    tasks = policy_for(tiny_study("training.balance_over=all_sites", unweighed), roster).layouts
    assert set(tasks) == {"train", "evaluate"}


def test_classes_are_counted_in_a_lane_of_one_number_for_each_column_of_the_targets():
    study = study_of(training=Training(balance_over="all_sites"), labels={"tears": Label()})
    assert [(lane.name, lane.shape) for lane in statistics_layout(study, 3).exacts] == [
        ("class_counts", (4,))
    ]
    assert counts_shape(study) == (4,)
    assert counts_shape(study_of()) == ()


def test_an_evaluation_holds_integers_only():
    layout = evaluate_layout(study_of(), 4)
    assert layout.reals == ()
    assert layout.weights == ()
    assert all(lane.shape == () for lane in layout.exacts)


def test_another_model_makes_another_policy(lay_table, tiny_study):
    roster = lay_table().roster
    ids = {
        policy_for(study, roster).policy_id
        for study in (
            tiny_study(),
            tiny_study("model.fusion=masked_mean"),
            tiny_study("secure_aggregation.update_norm=4"),
            tiny_study("secure_aggregation.min_sites=4"),
            tiny_study("secure_aggregation.suite=mlkem768_x25519"),
        )
    }
    assert len(ids) == 5
    assert Model().fusion == "masked_mean"
