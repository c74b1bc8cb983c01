"""Matrix products of a frozen network through oneDNN, where it runs on a processor.

Torch takes MKL for them, which is not at its best on every maker's processors: on an AMD EPYC,
oneDNN, which torch brings along too, needs less than half the time for the same product.
"""

from functools import cache

import torch
from torch import Tensor, nn

SMALL = 1e-5


class OneDnnLinear(nn.Linear):
    """A linear layer like any other; single precision, not for training."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return the product, weights unchanged."""
        return _product(input, self.weight, self.bias)


def with_onednn(network: nn.Module) -> nn.Module:
    """Let the linear layers of a frozen network be computed by oneDNN, where torch has it.

    Guarantees: weights stay what they are and where they are; results differ by the rounding of
    single precision alone.
    """
    if has_onednn():
        for module in network.modules():
            if type(module) is nn.Linear and module.weight.dtype == torch.float32:
                module.__class__ = OneDnnLinear
    return network


@cache
def has_onednn() -> bool:
    """Whether torch computes a linear layer through oneDNN here, and computes it right."""
    x_BF, weight_HF = torch.linspace(-1, 1, 24).view(2, 12), torch.linspace(-2, 1, 60).view(5, 12)
    bias_H = torch.arange(5.0)
    try:
        with torch.inference_mode():
            found_BH = _product(x_BF, weight_HF, bias_H)
    except (AttributeError, RuntimeError):  # an operator of torch's own, which may be missing
        return False
    expected_BH = nn.functional.linear(x_BF, weight_HF, bias_H)
    return bool(torch.allclose(found_BH, expected_BH, rtol=SMALL, atol=SMALL))


def _product(x_BF: Tensor, weight_HF: Tensor, bias_H: Tensor | None) -> Tensor:
    found_BH: Tensor = torch.ops.mkldnn._linear_pointwise(x_BF, weight_HF, bias_H, "none", [], "")
    return found_BH
