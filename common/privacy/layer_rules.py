"""For each kind of layer: the norm of every unit's gradient, and their weighted sum.

A rule sees the calls of one layer in one forward (inputs, gradients of the outputs) and
returns both without ever forming all units' weight gradients at once where shapes allow.
A unit's rows are laid one after the other along the time axis, so a unit is to a rule what
a longer row would be, and one rule serves persons and records.

Inputs and backprops are single precision and may be anything finite: whoever sent the weights
chose them. So what is summed over a unit and released is summed in double precision, and each
rule states a unit's *mass*: the norm that its gradient would have if nothing cancelled. Rounding
errors are shares of the mass, not of the norm (docs/privacy.md, Guarantee 1).

Letters: B rows, U units, S positions of a unit (rows × time), I inputs, O outputs.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from common.errors import PrivacyError
from common.privacy.unit_sums import gram_total, lengths, outer_norms, outer_sum, squares, unit_sum


@dataclass(frozen=True)
class Units:
    """Which rows belong together.

    Args:
        unit_B: the unit of each row.
        num_units: U.
        share_B: 1 / number of rows of the row's unit.
        slot_B: the row's place when units are laid out with `longest` places each; None
            where every row is a unit of its own, in order.
        longest: most rows of a unit.
    """

    unit_B: Tensor
    num_units: int
    share_B: Tensor
    slot_B: Tensor | None
    longest: int

    @staticmethod
    def of(unit_B: Tensor, num_units: int) -> "Units":
        """Lay out the rows of a batch that is not empty."""
        rows = len(unit_B)
        if num_units == rows and torch.equal(unit_B, torch.arange(rows, device=unit_B.device)):
            return Units(unit_B, num_units, torch.ones(rows, device=unit_B.device), None, 1)
        count_U = torch.bincount(unit_B, minlength=num_units)
        longest = int(count_U.max())
        order_B = torch.argsort(unit_B, stable=True)
        first_U = torch.cumsum(count_U, 0) - count_U
        place_B = torch.empty_like(unit_B)
        place_B[order_B] = torch.arange(rows, device=unit_B.device) - first_U[unit_B[order_B]]
        share_B = 1 / count_U[unit_B].to(torch.float32)
        return Units(unit_B, num_units, share_B, unit_B * longest + place_B, longest)

    def laid_out(self, rows_BSD: Tensor) -> Tensor:
        """Turn (B, S, D) into (U, longest · S, D); places without a row are zero."""
        if self.slot_B is None:
            return rows_BSD
        shape = rows_BSD.shape[1:]
        out = rows_BSD.new_zeros(self.num_units * self.longest, *shape)
        out[self.slot_B] = rows_BSD
        return out.reshape(self.num_units, self.longest * shape[0], *shape[1:])

    def summed(self, rows_B: Tensor) -> Tensor:
        """Sum rows by unit: (B, …) to (U, …)."""
        if self.slot_B is None:
            return rows_B
        out = rows_B.new_zeros(self.num_units, *rows_B.shape[1:])
        return out.index_add_(0, self.unit_B, rows_B)


@dataclass(frozen=True)
class Call:
    """One call of a layer: its input and the gradient of its output, both with B rows."""

    input: Tensor
    backprop: Tensor


@dataclass(frozen=True)
class LayerGradient:
    """The units' gradients of one layer, in short form.

    Args:
        squared_norms_U: squared L2 norm of each unit's gradient over the layer's parameters;
            where it is computed with cancellation, an upper bound of it.
        squared_masses_U: squared L2 norm of the sums of absolute values that make up each
            unit's gradient, or an upper bound of it; not below the squared norm.
        weighted_sum: factors_U -> {parameter name: Σ_u factor_u · gradient_u}, all in
            double precision.
    """

    squared_norms_U: Tensor
    squared_masses_U: Tensor
    weighted_sum: Callable[[Tensor], dict[str, Tensor]]


def linear(layer: nn.Linear, calls: list[Call], units: Units) -> LayerGradient:
    """Linear: the gradient of a unit is Σ_s b_s a_sᵀ over its positions s.

    Source: Goodfellow 2015 for one position; Gram matrices for more: Bu et al. 2022.
    """
    a_USI = units.laid_out(_positions([call.input for call in calls]))
    b_USO = units.laid_out(_positions([call.backprop for call in calls]))
    by_unit = {"bias": b_USO.sum(1, dtype=torch.float64)} if _wants(layer, "bias") else {}
    bias = _materialised(by_unit, units)
    if not _wants(layer, "weight"):
        return bias
    squares_U, masses_U = outer_norms(a_USI, b_USO)

    def weighted_sum(factors_U: Tensor) -> dict[str, Tensor]:
        return {"weight": outer_sum(a_USI, b_USO, factors_U), **bias.weighted_sum(factors_U)}

    return LayerGradient(
        squares_U + bias.squared_norms_U, masses_U + bias.squared_masses_U, weighted_sum
    )


def conv(layer: nn.Conv1d | nn.Conv2d, calls: list[Call], units: Units) -> LayerGradient:
    """Conv1d and Conv2d: every row's weight gradient by one grouped convolution.

    Source: Rochette, Manoel, Tramel 2019, "Efficient per-example gradient computations in CNNs".
    """
    by_unit: dict[str, Tensor] = {}
    if _wants(layer, "weight"):
        by_unit["weight"] = units.summed(_added(_conv_weight(layer, call) for call in calls))
    if _wants(layer, "bias"):
        by_unit["bias"] = units.summed(_added(call.backprop.flatten(2).sum(2) for call in calls))
    return _materialised(by_unit, units)


def _conv_weight(layer: nn.Conv1d | nn.Conv2d, call: Call) -> Tensor:
    """Return (B, O, I / groups, …): rows become groups of one convolution's weight gradient."""
    rows, shape = len(call.input), layer.weight.shape
    inputs, padding = _padded(layer, call.input)
    gradient: Tensor = torch.ops.aten.convolution_backward(
        call.backprop.reshape(1, -1, *call.backprop.shape[2:]),
        inputs.reshape(1, -1, *inputs.shape[2:]),
        inputs.new_zeros(1).expand(rows * shape[0], *shape[1:]),
        None,
        layer.stride,
        padding,
        layer.dilation,
        False,
        [0] * len(padding),
        rows * layer.groups,
        [False, True, False],
    )[1]
    return gradient.reshape(rows, *shape)


def _padded(layer: nn.Conv1d | nn.Conv2d, inputs: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Return the inputs, padded here unless the convolution can do it, and what it still pads."""
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = F.pad(inputs, layer._reversed_padding_repeated_twice, mode=mode)
        return padded, (0,) * (inputs.dim() - 2)
    return inputs, layer.padding


def layer_norm(layer: nn.LayerNorm, calls: list[Call], units: Units) -> LayerGradient:
    """LayerNorm: Σ_s b_s ⊙ x̂_s for the weight, Σ_s b_s for the bias."""
    shape = layer.normalized_shape
    normal = [F.layer_norm(call.input, shape, eps=layer.eps) for call in calls]
    return _affine(layer, calls, units, normal, lambda t: t.reshape(len(t), -1, *shape).sum(1))


def group_norm(layer: nn.GroupNorm, calls: list[Call], units: Units) -> LayerGradient:
    """GroupNorm: Σ_s b_s ⊙ x̂_s for the weight, Σ_s b_s for the bias, by channel."""
    normal = [F.group_norm(call.input, layer.num_groups, eps=layer.eps) for call in calls]
    return _affine(layer, calls, units, normal, lambda t: t.reshape(*t.shape[:2], -1).sum(2))


def _affine(
    layer: nn.Module,
    calls: list[Call],
    units: Units,
    normal: list[Tensor],
    total: Callable[[Tensor], Tensor],
) -> LayerGradient:
    by_unit: dict[str, Tensor] = {}
    pairs = list(zip(normal, calls, strict=True))
    if _wants(layer, "weight"):
        by_unit["weight"] = units.summed(_added(total(x * call.backprop) for x, call in pairs))
    if _wants(layer, "bias"):
        by_unit["bias"] = units.summed(_added(total(call.backprop) for call in calls))
    return _materialised(by_unit, units)


def embedding(layer: nn.Embedding, calls: list[Call], units: Units) -> LayerGradient:
    """Embedding: a unit's gradient has Σ b_s in row v over the positions s that hold token v."""
    if layer.max_norm is not None or layer.scale_grad_by_freq or layer.sparse:
        raise PrivacyError("clipping: an Embedding may not renorm, scale by frequency or be sparse")
    width = layer.embedding_dim
    token_US = torch.cat([call.input.flatten(1) for call in calls], 1)
    token_US = units.laid_out(token_US[..., None]).squeeze(-1)
    b_BSO = torch.cat([call.backprop.reshape(len(call.backprop), -1, width) for call in calls], 1)
    b_USO = units.laid_out(b_BSO)
    if layer.padding_idx is not None:
        b_USO = b_USO * (token_US != layer.padding_idx)[..., None]
    same_USS = (token_US[:, :, None] == token_US[:, None, :]).double()
    wide_USO, lengths_US = b_USO.double(), lengths(b_USO)
    masses_U = torch.einsum("us,usk,uk->u", lengths_US, same_USS, lengths_US)
    gram = torch.bmm(wide_USO, wide_USO.mT) * same_USS

    def weighted_sum(factors_U: Tensor) -> dict[str, Tensor]:
        scaled = wide_USO * factors_U.double()[:, None, None]
        out = torch.zeros_like(layer.weight, dtype=torch.float64).detach()
        return {"weight": out.index_add_(0, token_US.flatten(), scaled.flatten(0, 1))}

    return LayerGradient(gram_total(gram, width, masses_U), masses_U, weighted_sum)


def _materialised(by_unit: dict[str, Tensor], units: Units) -> LayerGradient:
    """Hold small unit gradients as they are: the norm is that of the very numbers released."""
    squares_U = units.share_B.new_zeros(units.num_units, dtype=torch.float64)
    for tensor in by_unit.values():
        squares_U = squares_U + squares(tensor)

    def weighted_sum(factors_U: Tensor) -> dict[str, Tensor]:
        return {name: unit_sum(tensor, factors_U) for name, tensor in by_unit.items()}

    return LayerGradient(squares_U, squares_U, weighted_sum)


def _positions(tensors: list[Tensor]) -> Tensor:
    """Flatten what lies between row and feature, and lay the calls one after the other."""
    flat = [tensor.reshape(len(tensor), -1, tensor.shape[-1]) for tensor in tensors]
    return flat[0] if len(flat) == 1 else torch.cat(flat, 1)


def _added(tensors: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, tensors)


def _wants(layer: nn.Module, name: str) -> bool:
    parameter = getattr(layer, name, None)
    return parameter is not None and bool(parameter.requires_grad)


RULES: dict[type[nn.Module], Any] = {
    nn.Linear: linear,
    nn.Conv1d: conv,
    nn.Conv2d: conv,
    nn.LayerNorm: layer_norm,
    nn.GroupNorm: group_norm,
    nn.Embedding: embedding,
}
