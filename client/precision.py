"""How a model is run while it trains: in single precision, or shorter or compiled on a GPU.

Clipping, noise, optimizer and evaluation stay in single precision or better, whatever is chosen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from common.config import Training

Forward = Callable[[Mapping[str, Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class Arithmetic:
    """How a model's forward and backward pass are computed while it trains.

    Args:
        shorter: what torch computes products in, or None for single precision.
        is_compiled: whether the forward goes through torch.compile.
    """

    shorter: torch.dtype | None = None
    is_compiled: bool = False

    def forward_of(self, model: nn.Module) -> Forward:
        """Return the model's forward; its logits are in single precision."""
        compiled: Forward = torch.compile(model) if self.is_compiled else model
        return compiled if self.shorter is None else partial(_shorter, compiled, self.shorter)


def _shorter(
    forward: Forward, dtype: torch.dtype, x: Mapping[str, Tensor], present_BM: Tensor
) -> Tensor:
    """Run a forward with products in a shorter type.

    Casts are not kept: clipping counts the uses of a parameter, and a kept cast hides all but one.
    """
    with torch.autocast(present_BM.device.type, dtype, cache_enabled=False):
        logits_BC = forward(x, present_BM)
    return logits_BC.float()


PLAIN = Arithmetic()


def arithmetic_on(training: Training, device: torch.device) -> Arithmetic:
    """Return what a study asks for, on a GPU; single precision elsewhere."""
    if device.type != "cuda":
        return PLAIN
    shorter = torch.bfloat16 if training.precision == "bfloat16" else None
    return Arithmetic(shorter, training.compile)


def is_left_out(training: Training, device: torch.device) -> bool:
    """Return whether the study asks for something that this device goes without."""
    return device.type != "cuda" and (training.precision != "float32" or training.compile)
