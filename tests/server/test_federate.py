"""The loop over rounds, with a fake that adds up: what is done with a sum."""

import json
from dataclasses import replace

import numpy as np
import pytest

from common.config import Training
from common.models.registry import build
from common.parameters import to_arrays, trainable_names
from common.secagg import ring
from common.sums import evaluate_layout, train_layout
from server.checkpoint import read_checkpoint
from server.federate import apply, federate, mean_update, shared_update
from server.optimizer import OptimizerState
from server.secure_sum import Total

SITES = ("hill", "lake", "mill")


def entropy(size):
    return b"\x80" * size


class FakeSums:
    """Adds up what three sites would send: a constant update, and counts of nobody."""

    def __init__(self, study, step=0.25):
        self.study, self.step, self.asked = study, step, []

    def heads_text(self):
        return ""

    def over(self, task, round_, model, *_more):
        self.asked.append((task, round_))
        if task == "evaluate":
            layout = evaluate_layout(self.study, 3)
            zeros = {lane.name: np.int64(0) for lane in layout.exacts}
            words = ring.encode(layout, {}, {}, zeros, entropy)
        else:
            layout = train_layout(self.study, 3)
            update = {real.name: np.full(real.shape, self.step) for real in layout.reals}
            counts = {weight.name: weight.cap for weight in layout.weights}
            words = ring.encode(layout, update, counts, {}, entropy)
        return Total(ring.decode(layout, 3 * words, 3), SITES)


@pytest.fixture
def study(tiny_study):
    return tiny_study("training.num_server_rounds=4", "training.evaluate_every=3")


def test_every_round_trains_and_some_evaluate_the_last_always(study, tmp_path):
    sums = FakeSums(study)
    federate(sums, tmp_path, lambda line: None)
    assert [round_ for task, round_ in sums.asked if task == "train"] == [1, 2, 3, 4]
    assert [task for task, _ in sums.asked] == [*["train"] * 3, "evaluate", "train", "evaluate"]


def test_the_model_moves_by_the_mean_update_each_round(study, tmp_path):
    before = to_arrays(build(study))
    after = federate(FakeSums(study), tmp_path, lambda line: None)
    for name in trainable_names(build(study)):
        assert np.allclose(after[name], before[name] + 4 * 0.25, atol=1e-3)


def test_each_round_is_reported_and_checkpointed(study, tmp_path):
    lines: list[dict[str, object]] = []
    rounds: list[int] = []

    def report(line):
        lines.append(json.loads(json.dumps(line)))
        path = tmp_path / "checkpoint.safetensors"
        rounds.append(read_checkpoint(path).round if path.exists() else 0)

    federate(FakeSums(study), tmp_path, report)
    assert [line["round"] for line in lines] == [1, 2, 3, 4]
    assert all(line["sites"] == list(SITES) for line in lines)
    assert rounds == [1, 2, 3, 4]
    assert read_checkpoint(tmp_path / "checkpoint.safetensors").round == 4
    assert (tmp_path / "model.safetensors").is_file()


def test_a_round_that_fails_leaves_the_checkpoint_of_the_one_before(study, tmp_path):
    class Failing(FakeSums):
        def over(self, task, round_, model, *_more):
            if round_ == 3:
                raise RuntimeError
            return super().over(task, round_, model)

    with pytest.raises(RuntimeError):
        federate(Failing(study), tmp_path, lambda line: None)
    assert read_checkpoint(tmp_path / "checkpoint.safetensors").round == 2
    assert not (tmp_path / "model.safetensors").exists()


def test_a_tensor_without_weight_stays_as_it_is(study):
    layout = train_layout(study, 3)
    counts = {w.name: 0 if w.name == "weight/features_b" else 5 for w in layout.weights}
    update = {real.name: np.full(real.shape, 0.5) for real in layout.reals}
    total = ring.decode(layout, ring.encode(layout, update, counts, {}, entropy), 1)
    found = mean_update(total)
    for name, value in found.items():
        expected = 0.0 if "features_b" in name else 0.5
        assert np.allclose(value, expected, atol=0.05), name
    model = to_arrays(build(study))
    _, after = apply(study, OptimizerState(), model, total)
    for name in model:
        if "features_b" in name:
            assert np.array_equal(after[name], model[name])


def test_statistics_travel_through_a_step_unchanged(study):
    layout = train_layout(study, 3)
    counts = {w.name: 1 for w in layout.weights}
    update = {real.name: np.zeros(real.shape) for real in layout.reals}
    total = ring.decode(layout, ring.encode(layout, update, counts, {}, entropy), 1)
    model = to_arrays(build(study)) | {"standardise.features_a.mean": np.ones(6, np.float32)}
    _, after = apply(study, OptimizerState(), model, total)
    assert after["standardise.features_a.mean"].tolist() == [1] * 6


def test_a_shared_step_goes_down_the_gradient_over_the_persons_expected(tiny_study):
    study = tiny_study(
        "privacy.mode=distributed", "privacy.noise_multiplier=4.0", "privacy.sampling_rate=0.5"
    )
    layout = train_layout(study, 4)
    grids = {real.name: np.full(real.shape, 7) for real in layout.reals}
    words = ring.encode_grid(layout, grids, {}, {"declared_units": np.int64(5)})
    total = ring.decode(layout, 4 * words, 4)
    found = shared_update(study, total)
    for real in layout.reals:
        gradient = 4 * 7 * layout.grid(real)
        assert np.allclose(found[real.name], -gradient / (0.5 * 20), rtol=1e-5)


def test_an_unfinished_evaluation_is_no_metric(study, tmp_path):
    short = replace(study, training=Training(num_server_rounds=1))
    lines: list[dict[str, object]] = []
    federate(FakeSums(short), tmp_path, lines.append)
    assert "metrics" not in lines[0]
