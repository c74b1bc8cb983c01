"""What a site does to the model between two exchanges."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.data.arrays import SiteData
from client.precision import PLAIN, Arithmetic
from common.config import Study, Training
from common.errors import ConfigError
from common.models.heads import loss_per_clip
from common.privacy.clipping import clipped_sum
from common.privacy.mechanism import CryptoStream, add_noise

PHYSICAL_BATCH = 512


@dataclass(frozen=True, repr=False)
class Batch:
    """Clips as tensors on the training device.

    Args:
        x: modality -> (B, *shape).
        present_BM: which clip has which modality.
        y_BC: targets, in the columns of common.targets.
        weight_B: weight of each clip in the loss.
    """

    x: dict[str, Tensor]
    present_BM: Tensor
    y_BC: Tensor
    weight_B: Tensor

    def take(self, index_K: Tensor) -> "Batch":
        """The chosen clips, in that order."""
        x = {name: value[index_K] for name, value in self.x.items()}
        return Batch(x, self.present_BM[index_K], self.y_BC[index_K], self.weight_B[index_K])


def device_of(name: str) -> torch.device:
    """The device a study names: "auto" takes a GPU when there is one.

    Raises:
        ConfigError: no device's name, or a GPU that this machine does not have.
    """
    if not re.fullmatch(r"auto|cpu|cuda:\d+", name):
        raise ConfigError(f"device is {name!r}; expected auto, cpu or cuda:0, cuda:1, …")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and int(name.split(":")[1]) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ConfigError(f"device is {name!r}, but this machine has {count} CUDA devices.")
    return torch.device(name)


@contextmanager
def dropout_from(seed: int, device: torch.device) -> Iterator[None]:
    """Let dropout draw from this seed inside the block; torch's own state stays untouched."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng([device] if on_gpu else []):
        (torch.manual_seed if on_gpu else torch.default_generator.manual_seed)(seed)
        yield


def to_batch(data: SiteData, weight_N: NDArray[np.float32], device: torch.device) -> Batch:
    """A site's clips as tensors on a device."""
    return Batch(
        {name: torch.from_numpy(value).to(device) for name, value in data.x.items()},
        torch.from_numpy(data.present_NM).to(device),
        torch.from_numpy(data.y_NC).to(device),
        torch.from_numpy(weight_N).to(device),
    )


def optimizer_of(model: torch.nn.Module, training: Training) -> torch.optim.Optimizer:
    """The site's optimizer.

    Raises:
        ConfigError: no such optimizer.
    """
    if training.optimizer not in OPTIMIZERS:
        raise ConfigError(
            f"training.optimizer is {training.optimizer!r}; "
            f"expected one of {', '.join(OPTIMIZERS)}."
        )
    return OPTIMIZERS[training.optimizer](model, training)


OPTIMIZERS: dict[str, Callable[[torch.nn.Module, Training], torch.optim.Optimizer]] = {
    "sgd": lambda model, t: torch.optim.SGD(
        model.parameters(), lr=t.learning_rate, momentum=t.momentum, weight_decay=t.weight_decay
    ),
    "adam": lambda model, t: torch.optim.Adam(
        model.parameters(), lr=t.learning_rate, weight_decay=t.weight_decay
    ),
}


def train_openly(
    model: torch.nn.Module,
    batch: Batch,
    study: Study,
    generator: torch.Generator,
    arithmetic: Arithmetic = PLAIN,
) -> None:
    """Plain local epochs, in place; for privacy.mode=none."""
    optimizer, forward = optimizer_of(model, study.training), arithmetic.forward_of(model)
    model.train()
    for index_B in _epochs(len(batch.y_BC), study.training, generator):
        chosen = batch.take(index_B.to(batch.y_BC.device))
        loss_B = loss_per_clip(forward(chosen.x, chosen.present_BM), chosen.y_BC)
        optimizer.zero_grad()
        ((loss_B * chosen.weight_B).sum() / len(index_B)).backward()
        optimizer.step()


def _epochs(count: int, training: Training, generator: torch.Generator) -> Iterator[Tensor]:
    for _ in range(training.local_epochs):
        yield from torch.randperm(count, generator=generator).split(training.batch_size)


@dataclass(frozen=True)
class Units:
    """Who can be sampled: for each unit (person or clip) the rows of its clips."""

    rows: tuple[NDArray[np.int64], ...]

    @staticmethod
    def of(data: SiteData, unit: str) -> "Units":
        """Units of a site's training clips."""
        if unit == "record":
            return Units(tuple(np.array([row]) for row in range(len(data))))
        persons = np.unique(data.person_N)
        return Units(tuple(np.flatnonzero(data.person_N == person) for person in persons))

    def sample(
        self, stream: CryptoStream, rate: float, most: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Poisson-sample units, and up to `most` clips of each, chosen anew.

        Returns:
            rows (B,), the unit of each row counted from 0, and how many units joined.
        """
        joined = np.flatnonzero(stream.poisson_mask(len(self.rows), rate))
        rows = [_some(stream, self.rows[unit], most) for unit in joined]
        units = [np.full(len(chosen), index) for index, chosen in enumerate(rows)]
        none = np.zeros(0, dtype=np.int64)
        return np.concatenate([none, *rows]), np.concatenate([none, *units]), len(joined)


def _some(stream: CryptoStream, rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    if len(rows) <= most:
        return rows
    return rows[stream.choose(len(rows), most)]


@dataclass(frozen=True)
class PrivateStep:
    """The public constants of DP-SGD, set by the study and the site's declaration.

    Args:
        sampling_rate: Poisson rate q of units.
        clips_per_unit: most clips of one unit in one step.
        max_grad_norm: clipping norm C.
        noise_multiplier: σ; noise has standard deviation σC on the clipped sum.
        expected_units: q × declared units: what the noisy sum is divided by.
    """

    sampling_rate: float
    clips_per_unit: int
    max_grad_norm: float
    noise_multiplier: float
    expected_units: float


def train_privately(
    model: torch.nn.Module,
    batch: Batch,
    units: Units,
    step: PrivateStep,
    study: Study,
    stream: CryptoStream,
    arithmetic: Arithmetic = PLAIN,
) -> None:
    """DP-SGD steps, in place: sample units, clip each one's gradient, add noise, step.

    Guarantees:
        Each step is a Poisson-subsampled Gaussian mechanism over units with sensitivity C and
        noise σC (Abadi et al., CCS 2016, algorithm 1; by persons as in McMahan et al., ICLR
        2018). An empty sample takes a step of noise alone.
    """
    optimizer = optimizer_of(model, study.training)
    for _ in range(study.training.local_steps):
        summed = clipped_gradient(model, batch, units, step, stream, arithmetic)
        noisy = add_noise(
            stream,
            summed,
            noise_multiplier=step.noise_multiplier,
            max_grad_norm=step.max_grad_norm,
            divisor=step.expected_units,
        )
        for name, gradient in noisy.items():
            model.get_parameter(name).grad = gradient
        optimizer.step()


def clipped_gradient(
    model: torch.nn.Module,
    batch: Batch,
    units: Units,
    step: PrivateStep,
    stream: CryptoStream,
    arithmetic: Arithmetic = PLAIN,
) -> dict[str, Tensor]:
    """The sum over sampled units of each one's clipped gradient: one private step's input."""
    rows_B, unit_B, count = units.sample(stream, step.sampling_rate, step.clips_per_unit)
    total: dict[str, Tensor] = {}
    model.train()
    passes = list(_chunks(unit_B, count))
    for first, last in passes:
        chosen = batch.take(torch.from_numpy(rows_B[first:last]).to(batch.y_BC.device))
        offset = int(unit_B[first])
        part = clipped_sum(
            model,
            loss_per_clip,
            chosen.x,
            chosen.present_BM,
            chosen.y_BC * chosen.weight_B[:, None],
            torch.from_numpy(unit_B[first:last] - offset).to(batch.y_BC.device),
            int(unit_B[last - 1]) - offset + 1,
            step.max_grad_norm,
            len(passes),
            arithmetic.forward_of(model),
        )
        total = _added(total, part.gradients)
    trained = {name: v for name, v in model.named_parameters() if v.requires_grad}
    return total or {name: torch.zeros_like(value) for name, value in trained.items()}


def _added(total: dict[str, Tensor], part: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add up passes, in double precision where there are several."""
    if not total:
        return part
    return {name: total[name].double() + value for name, value in part.items()}


def _chunks(unit_B: NDArray[np.int64], count: int) -> Iterator[tuple[int, int]]:
    """Runs of whole units, each of at most PHYSICAL_BATCH clips where units allow it."""
    ends = np.searchsorted(unit_B, np.arange(count), side="right")
    first = 0
    for unit, end in enumerate(ends):
        following = ends[unit + 1] if unit + 1 < count else None
        if following is None or following - first > PHYSICAL_BATCH:
            if end > first:
                yield first, int(end)
            first = int(end)
