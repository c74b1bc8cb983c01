"""From the units' gradients in short form to the sum of clipped ones.

Each unit's factor follows from its own rows alone. The sum's rounding errors depend on all units:
so single precision is used only where their sum is known to be small beside the clipping norm.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from common.privacy.factored import Factored, Shares, Units, factored_sizes
from common.privacy.layer_rules import LayerGradient
from common.privacy.unit_sums import SINGLE, Sizes, held_sizes, squares, unit_sum

ROUNDING = 1e-2
"""Clipped vectors are shortened by this share more, for what finite precision loses."""
SUM_ERROR = 4e-3
"""Most that the sum of a step may be off by, in clipping norms; it counts twice."""
NORM_DOUBT = 3e-3
"""Most that a squared norm may be off by, as a share of it; more is computed again."""
MOST_CANCELLATION = 2.0**12
"""A unit whose parts are longer than this many times its sum is clipped by its parts."""
LEAST_TERMS = 32
"""With fewer terms at once, adding in single precision saves nothing."""
FARTHEST = 2.0**60
"""Longest input whose products with factors lose nothing below what single precision holds."""
SMALL = 4096
"""Values of gradients that are worth copying together."""
PLAIN_NORMS = (2.0**-20, 2.0**20)
"""Between which clipping norms single precision is used."""


@dataclass(frozen=True)
class Clipped:
    """The sum over units of clipped gradients.

    Args:
        gradients: by parameter name, of what the loss reaches.
        norms_U: norm of each unit's gradient before clipping.
        finite_U: which units have a finite gradient, where that is not all of them: there is no
            sum then.
    """

    gradients: dict[str, Tensor]
    norms_U: Tensor
    finite_U: Tensor | None = None


def clip_units(
    layers: Mapping[str, LayerGradient], units: Units, max_grad_norm: float, passes: int = 1
) -> Clipped:
    """Return the sum over units of gradients clipped to max_grad_norm.

    Args:
        layers: the units' gradients by layer name.
        units: which rows belong together.
        max_grad_norm: C.
        passes: how many calls give one step's sum together.
    """
    together = _Gradients.of(layers)
    norms_U, masses_U, longest = together.norms(max_grad_norm)
    reaches_U = torch.maximum(norms_U, masses_U / MOST_CANCELLATION)
    finite_U = torch.isfinite(reaches_U)
    if not bool(finite_U.all()):
        return Clipped({}, norms_U, finite_U)
    factors_U = clip_factors(reaches_U, max_grad_norm)
    mass, farthest = torch.stack([(factors_U * masses_U).sum(), longest]).tolist()
    terms = single_terms(mass, farthest, max_grad_norm, passes)
    return Clipped(together.total(Shares(factors_U, terms, units)), norms_U)


def clip_factors(norms_U: Tensor, max_grad_norm: float) -> Tensor:
    """Return by what each unit's gradient is multiplied; 1 where it is short enough."""
    limit = max_grad_norm * (1 - ROUNDING)
    return torch.clamp(limit / norms_U.clamp(min=1e-30), max=1.0)


def single_terms(mass: float, longest: float, max_grad_norm: float, passes: int) -> int:
    """Return on how many roundings a term may go in single precision; 0 where too few to matter.

    Args:
        mass: Σ_u factor_u · mass_u.
        longest: greatest length of a layer's input.
        max_grad_norm: C.
        passes: how many calls give one step's sum together.

    Guarantees: with n such roundings (`unit_sums.in_blocks`), the sums of all passes are off by
        at most SUM_ERROR · C, since each is by at most (n + 4)·2^-24·mass.
    """
    if not PLAIN_NORMS[0] <= max_grad_norm <= PLAIN_NORMS[1] or not longest <= FARTHEST:
        return 0
    if not is_single():
        return 0
    allowed = 0.98 * SUM_ERROR * max_grad_norm / passes
    terms = min(2.0**20, allowed / (SINGLE * max(mass, 1e-30))) - 4
    return int(terms) // LEAST_TERMS * LEAST_TERMS if terms >= LEAST_TERMS else 0


def is_sure(squares_U: Tensor, doubts_U: Tensor, max_grad_norm: float) -> Tensor:
    """Return which units' norms are known well enough, or surely too short to be clipped."""
    is_known_U = (doubts_U <= NORM_DOUBT * squares_U) & torch.isfinite(squares_U)
    is_short_U = squares_U + doubts_U <= (max_grad_norm / 2) ** 2
    return (is_known_U | is_short_U) & is_single()


def is_single() -> bool:
    """Return whether products in single precision are that, not something shorter.

    Torch cannot say so once its newer settings of precision were used; then they are not.
    """
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:
        return False


@dataclass(frozen=True)
class _Gradients:
    """All layers' gradients: the small ones that are held side by side, the others by name."""

    small: dict[str, Tensor]
    small_UP: Tensor | None
    large: dict[str, Tensor]
    factored: dict[str, Factored]

    @staticmethod
    def of(layers: Mapping[str, LayerGradient]) -> "_Gradients":
        held = {
            _name(prefix, name): tensor
            for prefix, layer in layers.items()
            for name, tensor in layer.held.items()
        }
        factored = {
            prefix: layer.factored for prefix, layer in layers.items() if layer.factored is not None
        }
        small = {name: tensor for name, tensor in held.items() if tensor[0].numel() <= SMALL}
        large = {name: tensor for name, tensor in held.items() if name not in small}
        flat = [tensor.flatten(1) for tensor in small.values()]
        small_UP = torch.cat(flat, 1) if flat else None
        return _Gradients(small, small_UP, large, factored)

    def norms(self, max_grad_norm: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return each unit's norm and mass, and the longest input.

        Where single precision leaves a doubt, it is computed again: by what is known of the unit
        itself.
        """
        every = self._sizes()
        squares_U, doubts_U, masses_U = (
            torch.stack([getattr(sizes, name) for sizes in every]).sum(0)
            for name in ("squares_U", "doubts_U", "masses_U")
        )
        sure_U = is_sure(squares_U, doubts_U, max_grad_norm)
        if not bool(sure_U.all()):
            unit_K = torch.nonzero(~sure_U).squeeze(1)
            squares_U[unit_K], masses_U[unit_K] = self._again(unit_K)
        longest = torch.stack([sizes.longest for sizes in every]).amax()
        return squares_U.sqrt(), torch.maximum(squares_U, masses_U).sqrt(), longest

    def _sizes(self) -> list[Sizes]:
        held = [held_sizes(tensor) for tensor in self._held()]
        return held + factored_sizes(self.factored.values())

    def _again(self, unit_K: Tensor) -> tuple[Tensor, Tensor]:
        held = [squares(tensor[unit_K]) for tensor in self._held()]
        found = [gradient.norms(unit_K) for gradient in self.factored.values()]
        exact = torch.stack([*held, *(norms for norms, _ in found)]).sum(0)
        return exact, torch.stack([*held, *(masses for _, masses in found)]).sum(0)

    def _held(self) -> list[Tensor]:
        return [*([] if self.small_UP is None else [self.small_UP]), *self.large.values()]

    def total(self, shares: Shares) -> dict[str, Tensor]:
        """Return Σ_u factor_u · gradient_u by name."""
        given = shares.factors_U, shares.terms
        out = {name: unit_sum(tensor, *given) for name, tensor in self.large.items()}
        for prefix, gradient in self.factored.items():
            found = gradient.total(shares)
            out |= {_name(prefix, name): total for name, total in found.items()}
        if self.small_UP is not None:
            pieces = unit_sum(self.small_UP, *given).split(
                [tensor[0].numel() for tensor in self.small.values()]
            )
            for (name, tensor), piece in zip(self.small.items(), pieces, strict=True):
                out[name] = piece.reshape(tensor.shape[1:])
        return out


def _name(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
