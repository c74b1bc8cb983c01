"""The eight models that the cost of privacy is measured on: heads on cached features, encoders.

Those that are a study's own come from the registry; the deeper transformers are built here, from
the layers that studies use.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.config import Modality, Model, Study
from common.models.fusion import SelfAttention
from common.models.registry import build_for

CLASSES = 6
FUSED = ("audio", "text", "video")


@dataclass(frozen=True)
class Benchmark:
    """One model of the table.

    Args:
        name: of the row.
        kind: "head" on cached features, or "encoder" of raw signals.
        shapes: modality -> one clip's shape; of one whole number each in `vocabulary` entries.
        build: makes the model.
        vocabulary: number of tokens, where inputs are whole numbers; else 0.
    """

    name: str
    kind: str
    shapes: Mapping[str, tuple[int, ...]]
    build: Callable[[], nn.Module]
    vocabulary: int = 0


class Block(nn.Module):
    """A transformer block, normalised before each part."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before_attention, self.attention = nn.LayerNorm(width), SelfAttention(width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x_BSW: Tensor, readable_BS: Tensor) -> Tensor:
        """Let positions read each other."""
        x_BSW = x_BSW + self.attention(self.before_attention(x_BSW), readable_BS)
        return x_BSW + self.feed_forward(x_BSW)  # type: ignore[no-any-return]


class FusionTransformer(nn.Module):
    """Two blocks over the tokens of all modalities, each projected from cached features."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.project = nn.ModuleDict({name: nn.Linear(features, width) for name in FUSED})
        self.blocks = nn.ModuleList([Block(width), Block(width)])
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, CLASSES))

    def forward(self, x: Mapping[str, Tensor], present_BM: Tensor) -> Tensor:
        """Return logits_BC."""
        tokens = [self.project[name](x[name]) for name in FUSED]
        x_BSW = torch.cat(tokens, dim=1)
        readable_BS = present_BM.repeat_interleave(x_BSW.shape[1] // len(FUSED), dim=1)
        for block in self.blocks:
            x_BSW = block(x_BSW, readable_BS)
        return self.head(x_BSW.mean(dim=1))  # type: ignore[no-any-return]


class TextTransformer(nn.Module):
    """Two blocks over the tokens of a text."""

    def __init__(self, vocabulary: int, length: int, width: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList([Block(width), Block(width)])
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, CLASSES))

    def forward(self, x: Mapping[str, Tensor], present_BM: Tensor) -> Tensor:
        """Return logits_BC."""
        word_BS = x["text"]
        place_S = torch.arange(word_BS.shape[1], device=word_BS.device)
        place_BS = place_S.expand_as(word_BS).contiguous()
        x_BSW = self.words(word_BS) + self.places(place_BS)
        for block in self.blocks:
            x_BSW = block(x_BSW, present_BM.expand(-1, word_BS.shape[1]))
        return self.head(x_BSW.mean(dim=1))  # type: ignore[no-any-return]


def of_study(encoder: str, shape: tuple[int, ...], width: int) -> Callable[[], nn.Module]:
    """Build a study's model of one modality."""
    study = Study(
        name="bench",
        classes=tuple("abcdef"),
        modalities={"features": Modality(encoder=encoder)},
        model=Model(width=width, hidden=width),
    )
    return lambda: build_for(study, {"features": shape})


def single(name: str, kind: str, encoder: str, shape: tuple[int, ...], width: int) -> Benchmark:
    """Make a row for a study's model of one modality."""
    return Benchmark(name, kind, {"features": shape}, of_study(encoder, shape, width))


def fused(name: str, features: int, width: int, tokens: int) -> Benchmark:
    """Make a row for a transformer over three modalities."""
    shapes = dict.fromkeys(FUSED, (tokens, features))
    return Benchmark(name, "head", shapes, lambda: FusionTransformer(features, width))


MODELS = (
    single("MLP head on 3072 features", "head", "mlp", (3072,), 256),
    fused("fusion transformer 128", 512, 128, 1),
    fused("fusion transformer 256", 1024, 256, 1),
    fused("fusion 128, 16 tokens", 512, 128, 16),
    single("1-D conv, physiology", "encoder", "conv1d", (1000, 6), 64),
    single("conv + GRU, 1000 steps", "encoder", "gru", (1000, 6), 64),
    single("log-mel 2-D conv", "encoder", "conv2d", (1, 64, 200), 64),
    Benchmark(
        "text transformer", "encoder", {"text": (64,)},
        lambda: TextTransformer(8000, 64, 128), vocabulary=8000,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """One batch."""

    x: dict[str, Tensor]
    present_BM: Tensor
    y_BC: Tensor

    @staticmethod
    def of(model: Benchmark, batch: int, device: str = "cpu") -> "Rows":
        """Draw a batch, always the same."""
        generator = torch.Generator().manual_seed(batch)
        x = {
            name: torch.randint(model.vocabulary, (batch, *shape), generator=generator)
            if model.vocabulary
            else torch.randn(batch, *shape, generator=generator)
            for name, shape in model.shapes.items()
        }
        y_B = torch.randint(CLASSES, (batch,), generator=generator)
        y_BC = nn.functional.one_hot(y_B, CLASSES).float()
        present_BM = torch.ones(batch, len(x), dtype=torch.bool)
        moved = {name: value.to(device) for name, value in x.items()}
        return Rows(moved, present_BM.to(device), y_BC.to(device))
