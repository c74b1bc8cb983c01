"""For each kind of layer: the norm of every unit's gradient, and their weighted sum.

A rule sees the calls of one layer in one forward (inputs, gradients of the outputs) and
returns both without ever forming all units' weight gradients at once where shapes allow.
A unit's rows are laid one after the other along the time axis, so a unit is to a rule what
a longer row would be, and one rule serves persons and records.

A gradient that is small, or that the layer's own kernel forms, is held for each unit as it is;
what would be large is kept as factors (`common/privacy/factored.py`).

Letters: B rows, U units, S positions of a unit (rows × time), I inputs, O outputs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from common.errors import PrivacyError
from common.privacy.factored import Factored, Outer, Table, Units

Moments = tuple[Tensor, Tensor]
"""Mean and inverse deviation of each group, rows one after the other."""


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Args:
        input: what it read, with B rows.
        backprop: the gradient of its output, with B rows.
        moments: of a GroupNorm, those that its forward pass took.
    """

    input: Tensor
    backprop: Tensor
    moments: Moments | None = None


@dataclass(frozen=True)
class LayerGradient:
    """The units' gradients of one layer, in short form, by parameter name.

    Args:
        held: a gradient for each unit, as it is: (U, *shape).
        factored: gradients that are not formed, each a sum over positions.
    """

    held: dict[str, Tensor]
    factored: Factored | None = None


def linear(layer: nn.Linear, calls: list[Call], units: Units) -> LayerGradient:
    """Linear: the gradient of a unit is Σ_s b_s a_sᵀ over its positions s.

    Source: Goodfellow 2015 for one position; Gram matrices for more: Bu et al. 2022.
    """
    a_BSI = _positions([call.input for call in calls])
    b_BSO = _positions([call.backprop for call in calls])
    outer = Outer(a_BSI, b_BSO, units, _wants(layer, "bias"))
    by_weight = _wants(layer, "weight") and not outer.is_better_held
    if by_weight and not outer.is_formed:
        return LayerGradient({}, outer)
    held: dict[str, Tensor] = {}
    if _wants(layer, "weight") and not by_weight:
        held["weight"] = outer.held()
    if _wants(layer, "bias"):
        held["bias"] = units.summed(b_BSO[:, 0] if b_BSO.shape[1] == 1 else b_BSO.sum(1))
    return LayerGradient(held, Outer(a_BSI, b_BSO, units) if by_weight else None)


def conv(layer: nn.Conv1d | nn.Conv2d, calls: list[Call], units: Units) -> LayerGradient:
    """Conv1d and Conv2d: every row's weight gradient by one grouped convolution.

    Source: Rochette, Manoel, Tramel 2019, "Efficient per-example gradient computations in CNNs".
    """
    by_unit: dict[str, Tensor] = {}
    if _wants(layer, "weight"):
        by_unit["weight"] = units.summed(_added(_conv_weight(layer, call) for call in calls))
    if _wants(layer, "bias"):
        by_unit["bias"] = units.summed(_added(call.backprop.flatten(2).sum(2) for call in calls))
    return LayerGradient(by_unit)


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
    normal = (F.layer_norm(call.input, shape, eps=layer.eps) for call in calls)
    pairs = [(x.mul_(call.backprop), call.backprop) for x, call in zip(normal, calls, strict=True)]
    sums = [tuple(t.reshape(len(t), -1, *shape).sum(1) for t in pair) for pair in pairs]
    return _affine(layer, sums, units)


def group_norm(layer: nn.GroupNorm, calls: list[Call], units: Units) -> LayerGradient:
    """GroupNorm: Σ_s b_s ⊙ x̂_s for the weight, Σ_s b_s for the bias, by channel."""
    return _affine(layer, [_group_sums(layer, call) for call in calls], units)


def _group_sums(layer: nn.GroupNorm, call: Call) -> tuple[Tensor, ...]:
    """Return both sums (B, C): rows become groups of one normalisation's backward pass."""
    rows, channels = call.input.shape[:2]
    groups, values = rows * layer.num_groups, rows * channels
    b_1VS, x_1VS = (t.reshape(1, values, -1) for t in (call.backprop, call.input))
    places, one_V = b_1VS.shape[2], b_1VS.new_ones(1).expand(values)
    sizes = 1, values, places, groups
    if call.moments is None:
        _, *moments = torch.native_group_norm(x_1VS, None, None, *sizes, layer.eps)
    else:
        moments = [moment.reshape(1, groups) for moment in call.moments]
    _, *sums = torch.ops.aten.native_group_norm_backward(
        b_1VS.contiguous(), x_1VS.contiguous(), *moments, one_V, *sizes, [False, True, True]
    )
    return tuple(total.reshape(rows, channels) for total in sums)


def _affine(layer: nn.Module, sums: list[tuple[Tensor, ...]], units: Units) -> LayerGradient:
    """Return the gradients of weight and bias, of which each call gave the sums for each row."""
    named = zip(("weight", "bias"), zip(*sums, strict=True), strict=True)
    return LayerGradient(
        {name: units.summed(_added(totals)) for name, totals in named if _wants(layer, name)}
    )


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
    return LayerGradient({}, Table(token_US, b_USO, layer.num_embeddings))


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
