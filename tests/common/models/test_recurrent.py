"""The recurrent layer against torch's own, with the same weights."""

import pytest
import torch
from torch import nn

from common.models.recurrent import GRU


def pair(features=5, hidden=7):
    torch.manual_seed(0)
    ours, theirs = GRU(features, hidden).double(), nn.GRU(features, hidden, batch_first=True)
    theirs.double()
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.input.weight)
        theirs.bias_ih_l0.copy_(ours.input.bias)
        theirs.weight_hh_l0.copy_(ours.recurrent.weight)
        theirs.bias_hh_l0.copy_(ours.recurrent.bias)
    return ours, theirs


def by_name(layer):
    order = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
    return (
        list(layer.parameters()) if isinstance(layer, GRU) else [getattr(layer, n) for n in order]
    )


@pytest.mark.parametrize("shape", [(3, 11, 5), (1, 1, 5), (2, 2, 5), (0, 4, 5)])
def test_values_and_gradients_are_those_of_torch_gru(shape):
    ours, theirs = pair()
    x_BTF = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    upstream_BTH = torch.randn(*shape[:2], 7, dtype=torch.float64)
    found, expected = ours(x_BTF), theirs(x_BTF)[0] if shape[0] else ours(x_BTF)
    torch.testing.assert_close(found, expected)
    if shape[0]:
        both = [
            torch.autograd.grad((out * upstream_BTH).sum(), [x_BTF, *by_name(layer)])
            for out, layer in ((found, ours), (expected, theirs))
        ]
        torch.testing.assert_close(*both)


def test_without_gradients_the_values_are_the_same():
    ours, _ = pair()
    x_BTF = torch.randn(2, 9, 5, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x_BTF), pair()[0](x_BTF).detach())


def test_the_gradient_holds_against_finite_differences():
    ours, _ = pair(2, 3)
    x_BTF = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ours, (x_BTF,))
