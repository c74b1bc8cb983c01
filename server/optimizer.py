"""The coordinator's optimizers: each is (init, apply) over frozen state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from common.config import Training
from common.errors import ConfigError
from common.parameters import Arrays


@dataclass(frozen=True)
class OptimizerState:
    """What an optimizer carries from round to round."""

    step: int = 0
    first: Arrays = field(default_factory=dict)
    second: Arrays = field(default_factory=dict)


Apply = Callable[[Training, OptimizerState, Arrays, Arrays], tuple[OptimizerState, Arrays]]


def fedavg(
    training: Training, state: OptimizerState, model: Arrays, update: Arrays
) -> tuple[OptimizerState, Arrays]:
    """Add the mean update, with server momentum if asked for.

    Source: McMahan et al., AISTATS 2017; momentum as in Hsu et al. 2019 (FedAvgM).
    """
    beta, rate = training.server_momentum, training.server_learning_rate
    first = {
        name: beta * state.first.get(name, np.float32(0)) + value for name, value in update.items()
    }
    stepped = {name: model[name] + rate * first[name] for name in update}
    return OptimizerState(state.step + 1, first), _float32({**model, **stepped})


def fedadam(
    training: Training, state: OptimizerState, model: Arrays, update: Arrays
) -> tuple[OptimizerState, Arrays]:
    """Adam on the mean update, bias-corrected.

    Source: Reddi et al., ICLR 2021, algorithm 2 (FedAdam), with Adam's bias correction.
    """
    beta1, beta2, tau = training.server_momentum, 0.99, 1e-3
    step = state.step + 1
    zero = np.float32(0)
    first = {
        name: beta1 * state.first.get(name, zero) + (1 - beta1) * value
        for name, value in update.items()
    }
    second = {
        name: beta2 * state.second.get(name, zero) + (1 - beta2) * value**2
        for name, value in update.items()
    }
    scale1, scale2 = 1 - beta1**step, 1 - beta2**step
    stepped = {
        name: model[name]
        + training.server_learning_rate
        * (first[name] / scale1)
        / (np.sqrt(second[name] / scale2) + tau)
        for name in update
    }
    return OptimizerState(step, first, second), _float32({**model, **stepped})


OPTIMIZERS: dict[str, Apply] = {"fedavg": fedavg, "fedadam": fedadam}


def optimizer(training: Training) -> Apply:
    """The optimizer that a study names.

    Raises:
        ConfigError: no such optimizer.
    """
    if training.server_optimizer not in OPTIMIZERS:
        raise ConfigError(
            f"training.server_optimizer is {training.server_optimizer!r}; "
            f"expected one of {', '.join(OPTIMIZERS)}."
        )
    return OPTIMIZERS[training.server_optimizer]


def _float32(arrays: Mapping[str, np.ndarray]) -> Arrays:
    return {name: np.asarray(value, dtype=np.float32) for name, value in arrays.items()}
