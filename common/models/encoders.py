"""One modality becomes one token: vectors, sequences and images, each by small layers.

Every encoder is built from its `Sizes`, maps (B, *shape) to (B, width), and ends in a linear
layer called `project`. Normalisation is within one clip (LayerNorm, GroupNorm),
never across a batch: a person's gradient must not depend on who else was sampled.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from common.models.recurrent import GRU

VECTOR, SEQUENCE, IMAGE = 1, 2, 3
"""The ranks of the three shapes (F,), (T, F) and (C, H, W)."""
LINEAR_NORM = 2.0
"""Norm of a clip before a linear encoder; small enough for a learning rate of 0.1."""


@dataclass(frozen=True)
class Sizes:
    """What an encoder is built from.

    Args:
        shape: one clip's shape, without the batch.
        width: features of the token.
        hidden: features of the hidden layers.
        dropout: share of hidden features dropped while training.
        norm: L2 norm that a clip (of a sequence: a time step) typically has; public.
    """

    shape: tuple[int, ...]
    width: int
    hidden: int
    dropout: float
    norm: float


class Encoder(nn.Module):
    """Maps one modality to one token."""

    ranks: tuple[int, ...] = ()
    """Which ranks of shape this encoder reads."""

    project: nn.Linear

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()


class LinearEncoder(Encoder):
    """A linear map of anything; a sequence is averaged over time first.

    Inputs are brought to a common norm by a public constant: else the modality with the most
    features would learn fastest and take up most of a clipped gradient. (Encoders with a hidden
    layer need no such constant: their normalisation undoes any.)
    """

    ranks = (VECTOR, SEQUENCE, IMAGE)

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.over_time = len(sizes.shape) == SEQUENCE
        self.gain = LINEAR_NORM / sizes.norm
        features = sizes.shape[-1] if self.over_time else prod(sizes.shape)
        self.project = nn.Linear(features, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, *shape) to (B, width)."""
        x_BF = x.mean(dim=1) if self.over_time else x.flatten(1)
        return self.project(self.gain * x_BF)  # type: ignore[no-any-return]


class MlpEncoder(Encoder):
    """A vector through one hidden layer."""

    ranks = (VECTOR,)

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        hidden = sizes.hidden
        self.hidden = nn.Sequential(
            nn.Linear(sizes.shape[0], hidden),
            nn.LayerNorm(hidden),
            nn.GELU(),
            nn.Dropout(sizes.dropout),
        )
        self.project = nn.Linear(hidden, sizes.width)

    def forward(self, x_BF: Tensor) -> Tensor:
        """Map (B, F) to (B, width)."""
        return self.project(self.hidden(x_BF))  # type: ignore[no-any-return]


class Conv1dEncoder(Encoder):
    """A sequence through two strided convolutions over time, then the mean over time."""

    ranks = (SEQUENCE,)

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        hidden = sizes.hidden
        self.convolutions = nn.Sequential(
            nn.Conv1d(sizes.shape[1], hidden, kernel_size=5, stride=2, padding=2),
            group_norm(hidden),
            nn.GELU(),
            nn.Conv1d(hidden, hidden, kernel_size=5, stride=2, padding=2),
            group_norm(hidden),
            nn.GELU(),
        )
        self.dropout = nn.Dropout(sizes.dropout)
        self.project = nn.Linear(hidden, sizes.width)

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Map (B, T, F) to (B, width)."""
        over_time_BH = self.convolutions(x_BTF.transpose(1, 2)).mean(dim=2)
        return self.project(self.dropout(over_time_BH))  # type: ignore[no-any-return]


class GruEncoder(Encoder):
    """A sequence through one strided convolution and a recurrent layer, then the mean over time."""

    ranks = (SEQUENCE,)

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        hidden = sizes.hidden
        self.convolution = nn.Sequential(
            nn.Conv1d(sizes.shape[1], hidden, kernel_size=5, stride=2, padding=2),
            group_norm(hidden),
            nn.GELU(),
        )
        self.recurrent = GRU(hidden, hidden)
        self.dropout = nn.Dropout(sizes.dropout)
        self.project = nn.Linear(hidden, sizes.width)

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Map (B, T, F) to (B, width)."""
        local_BTH = self.convolution(x_BTF.transpose(1, 2)).transpose(1, 2)
        over_time_BH = self.recurrent(local_BTH).mean(dim=1)
        return self.project(self.dropout(over_time_BH))  # type: ignore[no-any-return]


class Conv2dEncoder(Encoder):
    """An image through two strided convolutions, then the means of its four quarters."""

    ranks = (IMAGE,)

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        hidden, narrow = sizes.hidden, max(2, sizes.hidden // 2)
        self.convolutions = nn.Sequential(
            nn.Conv2d(sizes.shape[0], narrow, kernel_size=5, stride=2, padding=2),
            group_norm(narrow),
            nn.GELU(),
            nn.Conv2d(narrow, hidden, kernel_size=3, stride=2, padding=1),
            group_norm(hidden),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(2),
        )
        self.dropout = nn.Dropout(sizes.dropout)
        self.project = nn.Linear(4 * hidden, sizes.width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, width)."""
        return self.project(self.dropout(self.convolutions(x_BCHW).flatten(1)))  # type: ignore[no-any-return]


def group_norm(channels: int) -> nn.GroupNorm:
    """Normalise in at most 8 groups of at least 2 channels where the number allows it."""
    groups = max(g for g in range(1, 9) if channels % g == 0 and (g == 1 or channels // g >= 2))
    return nn.GroupNorm(groups, channels)


def where_present(x: Tensor, present_B: Tensor) -> Tensor:
    """Return x with zeros where the modality is absent, whatever stood there.

    Guarantees: not even a NaN in an absent clip reaches a gradient.
    """
    mask = present_B.reshape(-1, *(1,) * (x.dim() - 1))
    return torch.where(mask, x, torch.zeros_like(x))
