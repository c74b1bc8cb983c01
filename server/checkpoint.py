"""A run's state after each step, in one file that is replaced atomically."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from common.errors import ConfigError, EnvironmentFault
from common.files import write_atomically
from common.parameters import Arrays
from server.optimizer import OptimizerState

CHECKPOINT = "checkpoint.safetensors"
ALONE_S = 60.0


@dataclass(frozen=True)
class Origin:
    """Which run a checkpoint is of; the same for every checkpoint of it.

    Args:
        run: the run's name, which is in every signature and in the sites' locks and ledgers.
        study: hash of the resolved study, 64 hexadecimal digits.
        roster: hash of the roster, 64 hexadecimal digits.
    """

    run: str = ""
    study: str = ""
    roster: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on.

    The coordinator draws nothing at random once the first model is made, and that follows from the
    study's seed; so there is no random state to keep.

    Args:
        round: rounds trained.
        model: parameters and buffers.
        optimizer: the coordinator's optimizer.
        history: what is reported of each round so far, JSON values only.
        pending: what is to be summed before the next round is trained: "statistics", "evaluate"
            or nothing.
        origin: of which run.
        resumed: how often the run was taken up again.
        heads: the newest ledger head of each site, as the text of a heads file.
    """

    round: int
    model: Arrays
    optimizer: OptimizerState = field(default_factory=OptimizerState)
    history: tuple[dict[str, object], ...] = ()
    pending: str = ""
    origin: Origin = Origin()
    resumed: int = 0
    heads: str = ""


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint; a crash leaves the old one or the new one, never half of each.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written.
    """
    tensors = _prefixed("model", checkpoint.model)
    tensors |= _prefixed("first", checkpoint.optimizer.first)
    tensors |= _prefixed("second", checkpoint.optimizer.second)
    rest = {
        "round": checkpoint.round,
        "step": checkpoint.optimizer.step,
        "history": checkpoint.history,
        "pending": checkpoint.pending,
        "origin": asdict(checkpoint.origin),
        "resumed": checkpoint.resumed,
        "heads": checkpoint.heads,
    }
    said = json.dumps(rest)
    write_atomically(path, save(tensors, metadata={"run": said, "digest": _digest(said, tensors)}))


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file.

    Raises:
        ConfigError: missing, not a checkpoint of this program, or not as it was written.
    """
    try:
        with safe_open(path, framework="np") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        rest, digest = json.loads(meta["run"]), meta["digest"]
        found = _checkpoint(rest, tensors)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{path} is not a checkpoint of a run; give the folder of a run that broke off."
        ) from error
    if digest != _digest(meta["run"], tensors):
        raise ConfigError(
            f"{path} was altered since it was written: its digest does not fit. Put back the copy "
            "that the run wrote; if there is none, start a new run."
        )
    return found


def check_origin(checkpoint: Checkpoint, origin: Origin, path: Path) -> None:
    """Hold a checkpoint to the study and roster that a run is to go on with.

    Raises:
        ConfigError: it is of another study or another roster.
    """
    if checkpoint.origin.study != origin.study:
        raise ConfigError(
            f"{path} is of another study: a run goes on with the study and the settings that it "
            "began with. Undo the change, or start a new run."
        )
    if checkpoint.origin.roster != origin.roster:
        raise ConfigError(
            f"{path} is of another roster: a site came, left or changed its keys since the run "
            "began, and keys, noise and locks hold for that roster only. Start a new run."
        )


def check_newest(checkpoint: Checkpoint, reported: int, path: Path) -> None:
    """Hold a checkpoint to the last round that was reported.

    Raises:
        ConfigError: it is an older copy.
    """
    if checkpoint.round < reported:
        raise ConfigError(
            f"{path} is an older copy: it ends with round {checkpoint.round}, and round {reported} "
            "was reported. Put back the newest; sites refuse to go through a round twice."
        )


def taken_up(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint as a run that goes on writes it first: one more attempt counted."""
    return replace(checkpoint, resumed=checkpoint.resumed + 1)


def new_folder(folder: Path) -> None:
    """Make a run's folder, or take one that is empty.

    Raises:
        ConfigError: something is in it.
        EnvironmentFault: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.iterdir())
    except OSError as error:
        raise EnvironmentFault(f"{folder} cannot be made: {error.strerror}.") from error
    if taken:
        raise ConfigError(f"{folder} is not empty; a run needs a folder of its own.")


@contextmanager
def alone(folder: Path, wait_s: float = ALONE_S) -> Iterator[None]:
    """Hold a run's folder: what is left of a broken run must not write beside the one that goes on.

    Args:
        folder: of the run; made where it is not there.
        wait_s: how long to wait for another process to end.

    Raises:
        EnvironmentFault: another process holds it, or the folder cannot be written.
    """
    deadline = time.monotonic() + wait_s
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise EnvironmentFault(f"{folder} cannot be made: {error.strerror}.") from error
    try:
        while not _held(descriptor):
            if time.monotonic() > deadline:
                raise EnvironmentFault(
                    f"Another process still works on the run in {folder}; wait for it, or end it."
                )
            time.sleep(0.2)
        yield
    finally:
        os.close(descriptor)


def is_played(folder: Path) -> bool:
    """Whether a process holds a run's folder just now."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return not _held(descriptor)
    finally:
        os.close(descriptor)


def _held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _prefixed(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    return {f"{prefix}/{name}": np.ascontiguousarray(value) for name, value in arrays.items()}


def _of(tensors: dict[str, np.ndarray], prefix: str) -> Arrays:
    start = prefix + "/"
    return {key.removeprefix(start): v for key, v in tensors.items() if key.startswith(start)}


def _checkpoint(rest: Mapping[str, Any], tensors: dict[str, np.ndarray]) -> Checkpoint:
    return Checkpoint(
        round=int(rest["round"]),
        model=_of(tensors, "model"),
        optimizer=OptimizerState(int(rest["step"]), _of(tensors, "first"), _of(tensors, "second")),
        history=tuple(rest["history"]),
        pending=str(rest["pending"]),
        origin=Origin(**rest["origin"]),
        resumed=int(rest["resumed"]),
        heads=str(rest["heads"]),
    )


def _digest(said: str, tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over everything in a checkpoint."""
    hashing = hashlib.sha256(f"tacit checkpoint v1 {len(said)} {said}".encode())
    for name in sorted(tensors):
        value = tensors[name]
        hashing.update(f"{name} {value.dtype} {value.shape}".encode())
        hashing.update(np.ascontiguousarray(value).data.cast("B") if value.size else b"")
    return hashing.hexdigest()
