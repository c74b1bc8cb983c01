"""A run's state after each round, in one file that is replaced atomically."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from common.errors import ConfigError, EnvironmentFault
from common.parameters import Arrays
from server.optimizer import OptimizerState


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on after a round.

    Args:
        round: rounds finished.
        model: parameters and buffers.
        optimizer: the coordinator's optimizer.
        history: what is reported of each round so far, JSON values only.
    """

    round: int
    model: Arrays
    optimizer: OptimizerState
    history: tuple[dict[str, object], ...] = ()


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint; a crash leaves the old one or the new one, never half of each.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written.
    """
    tensors = _prefixed("model", checkpoint.model)
    tensors |= _prefixed("first", checkpoint.optimizer.first)
    tensors |= _prefixed("second", checkpoint.optimizer.second)
    meta = {
        "round": str(checkpoint.round),
        "step": str(checkpoint.optimizer.step),
        "history": json.dumps(checkpoint.history),
    }
    write_atomically(path, save(tensors, metadata=meta))


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file.

    Raises:
        ConfigError: missing, or not a checkpoint of this program.
    """
    try:
        with safe_open(path, framework="np") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        optimizer = OptimizerState(int(meta["step"]), _of(tensors, "first"), _of(tensors, "second"))
        history = tuple(json.loads(meta["history"]))
        return Checkpoint(int(meta["round"]), _of(tensors, "model"), optimizer, history)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ConfigError(f"{path} is not a checkpoint of a run.") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be written: {error.strerror}.") from error


def _prefixed(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    return {f"{prefix}/{name}": np.ascontiguousarray(value) for name, value in arrays.items()}


def _of(tensors: dict[str, np.ndarray], prefix: str) -> Arrays:
    start = prefix + "/"
    return {key.removeprefix(start): v for key, v in tensors.items() if key.startswith(start)}
