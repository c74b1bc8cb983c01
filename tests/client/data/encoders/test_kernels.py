"""Linear layers through oneDNN: the same weights, the same values but for rounding."""

import pytest
import torch
from torch import nn

from client.data.encoders import kernels
from client.data.encoders.kernels import OneDnnLinear, has_onednn, with_onednn

needs_onednn = pytest.mark.skipif(not has_onednn(), reason="torch has no oneDNN here")


class Own(nn.Linear):
    """A layer that computes something of its own."""

    def forward(self, x):
        return 2 * super().forward(x)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(192, 768), nn.GELU(), nn.Linear(768, 64, bias=False), Own(64, 5)
        )


@needs_onednn
@pytest.mark.parametrize("shape", [(192,), (3, 192), (2, 197, 192), (0, 192)])
@torch.inference_mode()
def test_values_differ_by_rounding_alone(shape):
    plain, quick = network(), with_onednn(network())
    x = torch.linspace(-3, 3, 192).expand(shape) * torch.ones(shape)
    expected, found = plain(x), quick(x)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    turned = x.mT if len(shape) == 3 else x
    back = turned.contiguous().mT if len(shape) == 3 else turned
    assert torch.allclose(quick(back), expected, rtol=1e-5, atol=1e-5)


@needs_onednn
def test_weights_stay_what_they_are_and_other_layers_too():
    plain, quick = network(), network()
    places = [one.data_ptr() for one in quick.parameters()]
    with_onednn(quick)
    assert [type(one) for one in quick] == [OneDnnLinear, nn.GELU, OneDnnLinear, Own]
    assert [one.data_ptr() for one in quick.parameters()] == places
    pairs = zip(plain.state_dict().values(), quick.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    halves = with_onednn(nn.Sequential(nn.Linear(4, 4)).half())
    assert type(halves[0]) is nn.Linear


@pytest.mark.parametrize("fault", ["missing", "wrong"])
def test_without_a_kernel_that_computes_right_nothing_changes(monkeypatch, fault):
    def product(x_BF, weight_HF, bias_H):
        if fault == "missing":
            raise AttributeError("no such operator")
        return x_BF @ weight_HF.T + bias_H + 0.01

    monkeypatch.setattr(kernels, "_product", product)
    has_onednn.cache_clear()
    try:
        assert type(with_onednn(network())[0]) is nn.Linear
    finally:
        has_onednn.cache_clear()
