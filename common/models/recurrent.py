"""A gated recurrent unit made of two linear layers, so that every rule for them serves it too."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class GRU(nn.Module):
    """A gated recurrent unit over time, from a state of zeros.

    The input is projected for all steps at once; only what depends on the state before is
    computed step by step. The projection of the states is a layer of its own, applied to all
    states at once: its output's gradient is what a weight's gradient is made of, so clipping
    sees two ordinary linear layers and nothing else.

    Args:
        features: values of a time step.
        hidden: values of the state.

    Guarantees: values and gradients are those of torch.nn.GRU with the same weights.
    Source: Cho et al., EMNLP 2014, with the reset gate after the projection, as in cuDNN.
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.input = nn.Linear(features, 3 * hidden)
        self.recurrent = nn.Linear(hidden, 3 * hidden)

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Return the states (B, T, H), in the precision of the weights whatever surrounds it."""
        with torch.autocast(x_BTF.device.type, enabled=False):
            return self._states(x_BTF.to(self.input.weight.dtype))

    def _states(self, x_BTF: Tensor) -> Tensor:
        input_BTG = self.input(x_BTF)
        with torch.no_grad():
            steps = unrolled(input_BTG, self.recurrent.weight, self.recurrent.bias)
        if not torch.is_grad_enabled():
            return steps[0].transpose(0, 1)
        before_BTH = nn.functional.pad(steps[0].transpose(0, 1)[:, :-1], (0, 0, 1, 0))
        recurrent_BTG = self.recurrent(before_BTH)
        weight_GH = self.recurrent.weight.detach()
        states: Tensor = _Unrolled.apply(  # type: ignore[no-untyped-call]
            input_BTG, recurrent_BTG, before_BTH, weight_GH, *steps
        )
        return states


def unrolled(input_BTG: Tensor, weight_GH: Tensor, bias_G: Tensor) -> tuple[Tensor, ...]:
    """Run all steps.

    Args:
        input_BTG: projected inputs of the gates reset, update and new, one after the other.
        weight_GH: of the state's projection.
        bias_G: of the state's projection.

    Returns: states (T, B, H), reset and update gates (T, B, 2H), new values (T, B, H), and the
        state's projection for the new values (T, B, H).
    """
    batch, length, hidden = len(input_BTG), input_BTG.shape[1], weight_GH.shape[1]
    input_TBG = input_BTG.transpose(0, 1).contiguous()
    state_TBH, new_TBH, inner_TBH = (input_BTG.new_empty(length, batch, hidden) for _ in range(3))
    gate_TBG = input_BTG.new_empty(length, batch, 2 * hidden)
    state, weight_HG = input_BTG.new_zeros(batch, hidden), weight_GH.t().contiguous()
    whole = zip(input_TBG, state_TBH, gate_TBG, new_TBH, inner_TBH, strict=True)
    for given, out, gates, new, inner in whole:
        projected = torch.addmm(bias_G, state, weight_HG)
        torch.add(given[:, : 2 * hidden], projected[:, : 2 * hidden], out=gates).sigmoid_()
        inner.copy_(projected[:, 2 * hidden :])
        torch.addcmul(given[:, 2 * hidden :], gates[:, :hidden], inner, out=new).tanh_()
        state = torch.lerp(new, state, gates[:, hidden:], out=out)
    return state_TBH, gate_TBG, new_TBH, inner_TBH


class _Unrolled(torch.autograd.Function):
    """The states, as a function of both projections; backpropagation through time by hand."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        _input, _recurrent, before_BTH, weight_GH, state_TBH, gate_TBG, new_TBH, inner_TBH = given
        ctx.save_for_backward(before_BTH, weight_GH, gate_TBG, new_TBH, inner_TBH)
        return state_TBH.transpose(0, 1).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        before_BTH, weight_GH, gate_TBG, new_TBH, inner_TBH = ctx.saved_tensors
        reset_TBH, update_TBH = gate_TBG.chunk(2, dim=2)
        slope_TBH = (1 - update_TBH) * (1 - new_TBH.square())
        by_reset_TBH = slope_TBH * inner_TBH * reset_TBH * (1 - reset_TBH)
        by_update_TBH = (before_BTH.transpose(0, 1) - new_TBH) * update_TBH * (1 - update_TBH)
        slopes_TB3H = torch.stack([by_reset_TBH, by_update_TBH, slope_TBH * reset_TBH], 2)
        total_TBH = upstream[0].transpose(0, 1).contiguous()
        grad_TB3H = _through_time(total_TBH, slopes_TB3H, update_TBH, weight_GH)
        recurrent_BTG = grad_TB3H.flatten(2).transpose(0, 1)
        input_TB3H = grad_TB3H.clone()
        torch.mul(total_TBH, slope_TBH, out=input_TB3H[:, :, 2])
        return input_TB3H.flatten(2).transpose(0, 1), recurrent_BTG, *[None] * 6


def _through_time(
    total_TBH: Tensor, slopes_TB3H: Tensor, update_TBH: Tensor, weight_GH: Tensor
) -> Tensor:
    """Return the gradient of the state's projections; add to `total_TBH` what later steps give."""
    grad_TB3H = torch.empty_like(slopes_TB3H)
    carried = torch.zeros_like(total_TBH[0])
    for t in range(len(total_TBH) - 1, -1, -1):
        total = total_TBH[t].add_(carried)
        grad = torch.mul(total.unsqueeze(1), slopes_TB3H[t], out=grad_TB3H[t])
        carried = torch.addmm(total * update_TBH[t], grad.flatten(1), weight_GH)
    return grad_TB3H
