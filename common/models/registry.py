"""From a study to its model: names to encoders and fusions, shapes to sizes."""

import hashlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from common.config import Study
from common.errors import ConfigError
from common.inputs import WORDS, front_end_of, input_shapes
from common.models.encoders import (
    IMAGE,
    SEQUENCE,
    VECTOR,
    Conv1dEncoder,
    Conv2dEncoder,
    Encoder,
    GruEncoder,
    LinearEncoder,
    MlpEncoder,
    Sizes,
    where_present,
)
from common.models.fusion import Fusion, GatedAttention, Late, MaskedMean, SmallTransformer
from common.models.heads import score_head
from common.targets import targets_of

Shape = tuple[int, ...]
T = TypeVar("T")

ENCODERS: dict[str, type[Encoder]] = {
    "linear": LinearEncoder,
    "mlp": MlpEncoder,
    "conv1d": Conv1dEncoder,
    "gru": GruEncoder,
    "conv2d": Conv2dEncoder,
}
FUSIONS: dict[str, type[Fusion]] = {
    "late": Late,
    "masked_mean": MaskedMean,
    "gated_attention": GatedAttention,
    "transformer": SmallTransformer,
}
AUTO = {VECTOR: "mlp", SEQUENCE: "conv1d", IMAGE: "conv2d"}
"""Which encoder reads which rank, where the study leaves it open and hidden is above 0."""
UNIT_NORM = frozenset({"text_hash"})
"""Front ends whose features have norm 1 together, whatever their number."""


class Multimodal(nn.Module):
    """Encoders, a fusion and a head.

    Guarantees: every branch is computed in every step and masked by presence, so a clip's gradient
    is zero, not stale, in the branches of what it lacks. A clip without any modality gets scores
    of zero: the model abstains.

    Args:
        encoders: modality -> encoder; presence has its columns in the sorted order of these names.
        fusion: joins the tokens.
        head: from the fused token to scores.
        modality_dropout: chance that a modality of a clip is hidden while training; a clip never
            loses all it has.
        zero_fill: whether an absent modality is filled with zeros and counts like any other; a
            baseline, which has none of the guarantees above but the last.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fusion: Fusion,
        head: nn.Module,
        modality_dropout: float = 0.0,
        zero_fill: bool = False,
    ) -> None:
        super().__init__()
        self.zero_fill = zero_fill
        self.modality_dropout = modality_dropout
        self.modalities = tuple(sorted(encoders))
        self.encoders = nn.ModuleDict({name: encoders[name] for name in self.modalities})
        self.fusion = fusion
        self.head = head

    def forward(self, x: Mapping[str, Tensor], present_BM: Tensor) -> Tensor:
        """Return scores_BK for x[modality] of (B, *shape) and present_BM of bool."""
        present_BM = self._some_hidden(present_BM)
        token_BMW = torch.stack(
            [
                self.encoders[name](where_present(x[name], present_BM[:, column]))
                for column, name in enumerate(self.modalities)
            ],
            dim=1,
        )
        counts_BM = torch.ones_like(present_BM) if self.zero_fill else present_BM
        score_BK = self.head(self.fusion(token_BMW, counts_BM))
        return score_BK * present_BM.any(dim=1, keepdim=True)  # type: ignore[no-any-return]

    def _some_hidden(self, present_BM: Tensor) -> Tensor:
        if not self.training or self.modality_dropout == 0:
            return present_BM
        chance_BM = torch.rand(present_BM.shape, device=present_BM.device)
        kept_BM = present_BM & (chance_BM >= self.modality_dropout)
        return torch.where(kept_BM.any(dim=1, keepdim=True), kept_BM, present_BM)


def build(study: Study) -> Multimodal:
    """Build the study's model, equal for equal studies; coordinator and sites call this alone.

    Raises:
        ConfigError: if the study names an unknown encoder or fusion, an encoder that does not
            read the modality's shape, or sizes that make no network.
    """
    return build_for(study, input_shapes(study))


def build_for(study: Study, shapes: Mapping[str, Shape]) -> Multimodal:
    """Build the study's model for these input shapes.

    Guarantees: each part draws its first values from (seed, its own name), so one modality more
    or less does not change the others; the global random state is untouched.
    """
    check_sizes(study)
    seed, scores, model = study.seed, targets_of(study).scores, study.model
    absence = model.modality_dropout, study.missing.fusion == "zeros"
    fusion_type = known("model.fusion", model.fusion, FUSIONS)
    width = scores if fusion_type.tokens_are_logits else model.width
    encoders = {
        name: seeded(seed, name, partial(encoder_for, study, name, shapes[name], width))
        for name in sorted(study.modalities)
    }
    fusion = seeded(seed, "fusion", partial(fusion_type, len(encoders), width, model.dropout))
    if fusion_type.tokens_are_logits:
        for name, encoder in encoders.items():
            seeded(seed, f"{name} scores", partial(next_to_zero, encoder.project))
        return Multimodal(encoders, fusion, nn.Identity(), *absence)
    head = seeded(seed, "head", partial(score_head, width, scores, model.hidden, model.dropout))
    return Multimodal(encoders, fusion, head, *absence)


def next_to_zero(layer: nn.Linear) -> None:
    """Let a layer of scores begin where it knows nothing, and yet otherwise for every seed.

    A site never sums twice over one model, so that two runs must not begin with the same.
    """
    nn.init.normal_(layer.weight, std=1e-6)
    nn.init.zeros_(layer.bias)


def encoder_for(study: Study, modality: str, shape: Shape, width: int) -> Encoder:
    """Build one modality's encoder: the one that the study names, or what fits the shape."""
    name, hidden = study.modalities[modality].encoder, study.model.hidden
    if name == "auto":
        name = AUTO.get(len(shape), "linear") if hidden > 0 else "linear"
    where = f"modalities.{modality}.encoder"
    encoder_type = known(where, name, ENCODERS)
    if len(shape) not in encoder_type.ranks:
        fitting = [other for other, kind in ENCODERS.items() if len(shape) in kind.ranks]
        raise ConfigError(
            f"{where}: '{name}' does not read the shape {shape}; use {' or '.join(fitting)}"
        )
    if name != "linear" and hidden == 0:
        raise ConfigError(f"{where}: '{name}' needs model.hidden above 0; use 'linear' or 'auto'")
    norm = typical_norm(study, modality, shape)
    return encoder_type(Sizes(shape, width, hidden, study.model.dropout, norm))


def typical_norm(study: Study, modality: str, shape: Shape) -> float:
    """Return the L2 norm that a clip's features typically have, from the study alone.

    Front ends scale each feature to about unit size, so the norm is the root of their number;
    UNIT_NORM names those that scale the whole clip to norm 1 instead. Hashed words behind an
    encoder's features are as long as these, whatever their number.
    """
    settings = study.modalities[modality]
    if front_end_of(modality, settings) in UNIT_NORM:
        return 1.0
    words = settings.options.get(WORDS, 0)
    if words:
        return math.sqrt(2 * (shape[-1] - words))
    return math.sqrt(shape[-1] if len(shape) == SEQUENCE else math.prod(shape))


def check_sizes(study: Study) -> None:
    """Raise ConfigError for sizes that make no network."""
    model = study.model
    if len(study.classes) == 1 or targets_of(study).scores == 0:
        raise ConfigError(
            "classes: at least 2 expected, or dimensions or labels instead; found "
            f"{list(study.classes)}"
        )
    if not study.modalities:
        raise ConfigError("modalities: at least one expected, found none")
    if model.width < 1 or model.hidden < 0 or model.hidden == 1:
        raise ConfigError(
            "model: width of at least 1, and hidden of 0 (linear) or at least 2 expected; "
            f"found width {model.width} and hidden {model.hidden}"
        )
    for name in ("dropout", "modality_dropout"):
        if not 0 <= getattr(model, name) < 1:
            raise ConfigError(
                f"model.{name}: 0 up to below 1 expected, found {getattr(model, name)}"
            )


def known(where: str, name: str, table: Mapping[str, T]) -> T:
    """Return table[name], or raise ConfigError that lists the known names."""
    if name not in table:
        raise ConfigError(f"{where}: '{name}' is unknown; known are {', '.join(sorted(table))}")
    return table[name]


def seeded(seed: int, part: str, make: Callable[[], T]) -> T:
    """Make one part of the network from the seed and the part's name alone."""
    digest = hashlib.sha256(f"{seed}/{part}".encode()).digest()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int.from_bytes(digest[:8]) >> 1)
        return make()
