"""The coordinator's optimizers, against torch's own."""

import numpy as np
import pytest
import torch

from common.config import Training
from common.errors import ConfigError
from server.optimizer import OPTIMIZERS, OptimizerState, optimizer

ROUNDS = 6


def updates():
    rng = np.random.default_rng(0)
    return [{"w": rng.normal(0, 1, (3, 2)).astype(np.float32)} for _ in range(ROUNDS)]


def played(training):
    """The model after a few rounds, and the state."""
    model, state = {"w": np.ones((3, 2), np.float32)}, OptimizerState()
    for update in updates():
        state, model = optimizer(training)(training, state, model, update)
    return model["w"], state


def by_torch(make):
    weight = torch.nn.Parameter(torch.ones(3, 2))
    rule = make([weight])
    for update in updates():
        weight.grad = -torch.from_numpy(update["w"])
        rule.step()
    return weight.detach().numpy()


@pytest.mark.parametrize(("rate", "momentum"), [(1.0, 0.0), (0.5, 0.0), (0.3, 0.9)])
def test_fedavg_is_sgd_with_momentum_on_the_negative_update(rate, momentum):
    training = Training(server_learning_rate=rate, server_momentum=momentum)
    found, state = played(training)
    expected = by_torch(lambda p: torch.optim.SGD(p, lr=rate, momentum=momentum))
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert state.step == ROUNDS


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_fedadam_is_adam_on_the_negative_update(momentum):
    training = Training(
        server_optimizer="fedadam", server_learning_rate=0.1, server_momentum=momentum
    )
    found, _ = played(training)
    expected = by_torch(lambda p: torch.optim.Adam(p, lr=0.1, betas=(momentum, 0.99), eps=1e-3))
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_plain_fedavg_adds_the_mean_update():
    model = {"w": np.ones(2, np.float32), "kept": np.zeros(1, np.float32)}
    training = Training()
    _, after = optimizer(training)(training, OptimizerState(), model, {"w": np.full(2, 0.5)})
    assert after["w"].tolist() == [1.5, 1.5]
    assert after["kept"].tolist() == [0.0]
    assert all(value.dtype == np.float32 for value in after.values())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_changes_neither_the_model_nor_the_state_that_it_was_given(name):
    training = Training(server_optimizer=name, server_momentum=0.9)
    model, state = {"w": np.ones(2, np.float32)}, OptimizerState()
    state, model = optimizer(training)(training, state, model, {"w": np.ones(2, np.float32)})
    kept = {k: v.copy() for k, v in (model | state.first | state.second).items()}
    optimizer(training)(training, state, model, {"w": np.ones(2, np.float32)})
    assert all(np.array_equal(kept[k], v) for k, v in (model | state.first | state.second).items())


def test_an_unknown_optimizer_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="expected one of fedavg, fedadam"):
        optimizer(Training(server_optimizer="lion"))
