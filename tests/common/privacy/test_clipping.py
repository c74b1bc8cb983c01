"""The clipped sum against three oracles: per-sample autograd, Opacus' hooks, and algebra."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from common.config import Modality, Model, Study
from common.errors import PrivacyError
from common.models.recurrent import GRU
from common.models.registry import build
from common.privacy.clip_units import ROUNDING, clip_factors
from common.privacy.clipping import clipped_sum, clipped_sum_by_hooks
from common.privacy.factored import Units
from common.privacy.layer_rules import RULES

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")


def cross_entropy(logits_BC, y_BC):
    return -(y_BC * F.log_softmax(logits_BC, dim=-1)).sum(-1)


class Only(nn.Module):
    """A stack over the single modality "a", averaged to 3 logits."""

    def __init__(self, *layers):
        super().__init__()
        self.stack = nn.Sequential(*layers)

    def forward(self, x, present_BM):
        out = self.stack(x["a"])
        return out.flatten(1)[:, :3] * (1 + out.flatten(1).mean(1, keepdim=True))


class Channels(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


class Twice(nn.Module):
    """One layer, called three times: its uses add up."""

    def __init__(self):
        super().__init__()
        self.inner, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        for _ in range(3):
            x = torch.tanh(self.inner(x))
        return self.last(x)


class Three(nn.Module):
    """Layers of different widths, with a bias and without, that read one input."""

    def __init__(self, width):
        super().__init__()
        self.one, self.other = nn.Linear(width, 96), nn.Linear(width, 80)
        self.last = nn.Linear(width, 90, bias=False)

    def forward(self, x):
        return torch.cat([self.one(x), torch.tanh(self.other(x)) ** 2, self.last(x)], 2)


LAYERS = {
    "linear": ((5,), lambda: [nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 3)]),
    "linear without bias": ((5,), lambda: [nn.Linear(5, 3, bias=False)]),
    "linear over time, gram": ((2, 40), lambda: [nn.Linear(40, 30), nn.Tanh(), nn.Linear(30, 3)]),
    "linear over time, direct": ((30, 4), lambda: [nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)]),
    "linear over a plane": ((3, 4, 5), lambda: [nn.Linear(5, 4), nn.Tanh()]),
    "conv1d": ((4, 17), lambda: [nn.Conv1d(4, 6, 5, stride=2, padding=2), nn.GELU()]),
    "conv1d groups": ((4, 17), lambda: [nn.Conv1d(4, 6, 3, groups=2, dilation=2), nn.GELU()]),
    "conv1d same": ((4, 17), lambda: [nn.Conv1d(4, 6, 4, padding="same"), nn.GELU()]),
    "conv1d reflect": (
        (4, 17),
        lambda: [nn.Conv1d(4, 6, 3, padding=1, padding_mode="reflect"), nn.GELU()],
    ),
    "conv2d": ((3, 9, 8), lambda: [nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.GELU()]),
    "conv2d uneven": (
        (2, 9, 8),
        lambda: [nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(0, 1), bias=False), nn.GELU()],
    ),
    "layer norm": ((7, 6), lambda: [nn.LayerNorm(6), nn.Linear(6, 3)]),
    "layer norm over two": ((4, 7, 6), lambda: [nn.LayerNorm((7, 6)), nn.Linear(6, 3)]),
    "layer norm, scale only": ((7, 6), lambda: [nn.LayerNorm(6, bias=False), nn.Linear(6, 3)]),
    "group norm": ((6, 10), lambda: [nn.GroupNorm(3, 6), nn.Conv1d(6, 4, 3)]),
    "group norm over a plane": ((6, 4, 4), lambda: [nn.GroupNorm(2, 6), nn.GELU()]),
    "one layer, several calls": ((2, 6), lambda: [Twice()]),
    "recurrent": ((9, 4), lambda: [GRU(4, 6)]),
    "recurrent, long": ((80, 4), lambda: [GRU(4, 6)]),
    "an output changed in place": ((5,), lambda: [nn.Linear(5, 4), nn.ReLU(inplace=True)]),
    "one input, several layers": ((40, 8), lambda: [nn.Linear(8, 96), nn.Tanh(), Three(96)]),
    "frozen weight": ((5,), lambda: [frozen(nn.Linear(5, 4)), nn.GELU(), nn.Linear(4, 3)]),
}


def frozen(layer):
    layer.weight.requires_grad_(False)
    return layer


def tokens(padding_idx=None):
    return [nn.Embedding(9, 6, padding_idx=padding_idx), nn.Linear(6, 3)]


LAYERS_BY_TOKEN = {
    "embedding": ((8,), tokens),
    "embedding, padded": ((8,), lambda: tokens(padding_idx=0)),
}


def case(name, rows=6):
    torch.manual_seed(7)
    if name in LAYERS_BY_TOKEN:
        shape, layers = LAYERS_BY_TOKEN[name]
        values = torch.randint(0, 9, (rows, *shape))
    else:
        shape, layers = LAYERS[name]
        values = torch.randn(rows, *shape)
    model = Only(*layers())
    return model, batch_of({"a": values}, classes=3)


def batch_of(x, classes, present_BM=None):
    rows = len(next(iter(x.values())))
    y_BC = F.one_hot(torch.arange(rows) % classes, classes).float()
    present = torch.ones(rows, len(x), dtype=torch.bool) if present_BM is None else present_BM
    return {"x": x, "present_BM": present, "y_BC": y_BC}


def by_loop(model, batch, unit_B, num_units, norm):
    """The definition: one backward for each unit."""
    total = {n: torch.zeros_like(p) for n, p in model.named_parameters() if p.requires_grad}
    norms = torch.zeros(num_units)
    for unit in range(num_units):
        rows = unit_B == unit
        if not rows.any():
            continue
        x = {name: tensor[rows] for name, tensor in batch["x"].items()}
        logits = model(x, batch["present_BM"][rows])
        loss = cross_entropy(logits, batch["y_BC"][rows]).mean()
        wanted = [p for p in model.parameters() if p.requires_grad]
        grads = torch.autograd.grad(loss, wanted, allow_unused=True)
        grads = [
            torch.zeros_like(p) if g is None else g for p, g in zip(wanted, grads, strict=True)
        ]
        norms[unit] = torch.sqrt(sum(g.double().square().sum() for g in grads))
        if not torch.isfinite(norms[unit]):
            norms[unit] = 0
            continue
        factor = clip_factors(norms[unit], norm)
        for name, grad in zip(total, grads, strict=True):
            total[name] += grad * factor
    return total, norms


UNITS = {
    "record": lambda rows: (torch.arange(rows), rows),
    "person": lambda rows: (torch.arange(rows) % 3, 3),
    "uneven persons": lambda rows: ((torch.arange(rows) > 0).long() * 2, 4),
}


def assert_close(found, expected, limit):
    assert found.keys() == expected.keys()
    largest = max(float(tensor.abs().max()) for tensor in expected.values())
    for name, tensor in expected.items():
        scale = max(float(tensor.abs().max()), 0.1 * largest)
        assert float((found[name] - tensor).abs().max()) <= limit * scale, name


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("name", [*LAYERS, *LAYERS_BY_TOKEN])
@pytest.mark.parametrize("norm", [0.05, 1000.0])
def test_every_layer_against_per_sample_autograd(name, units, norm):
    model, batch = case(name)
    unit_B, num_units = UNITS[units](6)
    found = clipped_sum(
        model, cross_entropy, **batch, unit_B=unit_B, num_units=num_units, max_grad_norm=norm
    )
    expected, norms = by_loop(model, batch, unit_B, num_units, norm)
    assert_close(found.gradients, expected, 1e-5)
    assert torch.allclose(found.norms_U, norms, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize(
    "name", ["linear over time, gram", "conv1d", "group norm", "embedding", "recurrent"]
)
def test_single_pass_against_opacus_hooks(name, units):
    model, batch = case(name)
    unit_B, num_units = UNITS[units](6)
    both = [
        way(model, cross_entropy, **batch, unit_B=unit_B, num_units=num_units, max_grad_norm=0.1)
        for way in (clipped_sum, clipped_sum_by_hooks)
    ]
    assert_close(both[0].gradients, both[1].gradients, 1e-5)
    assert torch.allclose(both[0].norms_U, both[1].norms_U, rtol=1e-5)


def test_there_is_a_case_for_every_rule():
    covered = {type(m) for name in [*LAYERS, *LAYERS_BY_TOKEN] for m in case(name)[0].modules()}
    assert set(RULES) <= covered


def study(fusion="masked_mean", hidden=12):
    modalities = {
        "features": Modality(options={"dim": 5}),
        "features_b": Modality(options={"dim": 4}),
    }
    return Study(
        name="s", classes=("a", "b", "c"), modalities=modalities, model=Model(8, hidden, fusion)
    )


def real_batch(present_BM, rows=6):
    torch.manual_seed(1)
    x = {"features": torch.randn(rows, 5), "features_b": torch.randn(rows, 4)}
    for column, name in enumerate(sorted(x)):
        x[name][~present_BM[:, column]] = 0
    return batch_of(x, 3, present_BM)


PRESENCE = {
    "all there": torch.ones(6, 2, dtype=torch.bool),
    "missing in part": torch.tensor([[1, 0], [0, 1], [1, 1], [1, 0], [0, 1], [1, 1]]).bool(),
    "missing in all": torch.tensor([[1, 0]] * 6).bool(),
    "nothing in one row": torch.tensor([[0, 0]] + [[1, 1]] * 5).bool(),
}


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("presence", PRESENCE)
@pytest.mark.parametrize("fusion", ["late", "masked_mean", "gated_attention", "transformer"])
def test_real_models_with_modalities_missing(fusion, presence, units):
    model = randomised(build(study(fusion)))
    batch = real_batch(PRESENCE[presence])
    unit_B, num_units = UNITS[units](6)
    found = clipped_sum(
        model, cross_entropy, **batch, unit_B=unit_B, num_units=num_units, max_grad_norm=0.1
    )
    expected, norms = by_loop(model, batch, unit_B, num_units, 0.1)
    assert_close(found.gradients, expected, 1e-5)
    assert torch.allclose(found.norms_U, norms, rtol=1e-5, atol=1e-6)


def randomised(model):
    """Heads start at zero, and encoders would have no gradient."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model


@pytest.mark.parametrize("way", [clipped_sum, clipped_sum_by_hooks])
def test_an_empty_batch_gives_zeros(way):
    model, batch = case("linear")
    empty = {
        "x": {"a": batch["x"]["a"][:0]},
        "present_BM": batch["present_BM"][:0],
        "y_BC": batch["y_BC"][:0],
    }
    found = way(
        model, cross_entropy, **empty, unit_B=torch.zeros(0).long(), num_units=0, max_grad_norm=1.0
    )
    assert found.gradients.keys() == dict(model.named_parameters()).keys()
    assert not any(g.any() for g in found.gradients.values())
    assert len(found.norms_U) == 0


@pytest.mark.parametrize("way", [clipped_sum, clipped_sum_by_hooks])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("units", UNITS)
def test_a_unit_with_a_row_that_is_not_finite_counts_as_zero(way, bad, units):
    model, batch = case("linear")
    unit_B, num_units = UNITS[units](6)
    batch["x"]["a"][1, 2] = bad
    found = way(
        model, cross_entropy, **batch, unit_B=unit_B, num_units=num_units, max_grad_norm=0.1
    )
    expected, norms = by_loop(model, batch, unit_B, num_units, 0.1)
    assert_close(found.gradients, expected, 1e-5)
    assert found.norms_U[unit_B[1]] == 0
    assert torch.allclose(found.norms_U, norms, rtol=1e-5)


def test_a_batch_in_which_nothing_is_finite_gives_zeros():
    model, batch = case("linear")
    batch["x"]["a"][:] = float("nan")
    found = clipped_sum(
        model, cross_entropy, **batch, unit_B=torch.arange(6), num_units=6, max_grad_norm=1.0
    )
    assert not any(g.any() for g in found.gradients.values())


@given(st.integers(0, 2**31), st.integers(1, 4), st.floats(0.01, 5))
@settings(max_examples=25, deadline=None)
def test_one_unit_moves_the_sum_by_at_most_the_clipping_norm(seed, persons, norm):
    """Adding or removing all rows of one unit moves the sum by at most max_grad_norm."""
    torch.manual_seed(seed)
    model = Only(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 3))
    rows = persons * 3 + 2
    batch = batch_of({"a": torch.randn(rows, 5) * 10}, 3)
    unit_B = torch.cat([torch.arange(persons).repeat(3), torch.tensor([persons] * 2)])

    def flat(keep):
        kept = {
            "x": {"a": batch["x"]["a"][keep]},
            "present_BM": batch["present_BM"][keep],
            "y_BC": batch["y_BC"][keep],
        }
        found = clipped_sum(
            model,
            cross_entropy,
            **kept,
            unit_B=unit_B[keep],
            num_units=persons + 1,
            max_grad_norm=norm,
        )
        return torch.cat([g.flatten() for g in found.gradients.values()]).double()

    moved = flat(torch.ones(rows, dtype=torch.bool)) - flat(unit_B != persons)
    assert float(moved.norm()) <= norm


def test_a_short_gradient_is_left_alone_and_a_long_one_cut_to_the_norm():
    factors = clip_factors(torch.tensor([0.0, 0.5, 1.0, 4.0]), 1.0)
    assert factors.tolist() == pytest.approx([1, 1, 1 - ROUNDING, (1 - ROUNDING) / 4])


def test_nothing_stays_on_the_model():
    model, batch = case("conv1d")
    before = {id(m): set(vars(m)) for m in model.modules()}
    for way in (clipped_sum, clipped_sum_by_hooks):
        way(model, cross_entropy, **batch, unit_B=torch.arange(6), num_units=6, max_grad_norm=1.0)
        assert all(p.grad is None for p in model.parameters())
        assert all(not hasattr(p, "grad_sample") for p in model.parameters())
        assert all(not m._forward_hooks and not m._backward_hooks for m in model.modules())
        assert {id(m): set(vars(m)) for m in model.modules()} == before


def test_a_step_knows_nothing_of_the_step_before():
    """No state is kept between calls: stale norms of another batch cannot come back."""
    model, batch = case("linear")
    other = {**batch, "x": {"a": batch["x"]["a"] * 1000}}
    units = {"unit_B": torch.arange(6), "num_units": 6, "max_grad_norm": 0.1}
    alone = clipped_sum(model, cross_entropy, **batch, **units)
    clipped_sum(model, cross_entropy, **other, **units)
    again = clipped_sum(model, cross_entropy, **batch, **units)
    assert all(torch.equal(alone.gradients[n], again.gradients[n]) for n in alone.gradients)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x * self.scale


class Around(nn.Module):
    """Uses a layer's weight behind the layer's back."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, x):
        return self.linear(x) + x @ self.linear.weight.t()


class Overwrites(nn.Module):
    """Changes what a layer has read."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return self.linear(x) + x.mul_(2)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(5, 5), nn.Linear(5, 5)
        self.other.weight = self.one.weight

    def forward(self, x):
        return self.other(self.one(x))


class Subclass(nn.Linear):
    def forward(self, x):
        return super().forward(x) ** 2


REFUSED = {
    "a parameter of its own": ([Own()], "'stack.0' .Own. has no rule"),
    "batch norm": ([nn.BatchNorm1d(5)], "'stack.0' .BatchNorm1d. has no rule"),
    "a subclass": ([Subclass(5, 3)], "Subclass. has no rule"),
    "attention with its own weights": ([nn.TransformerEncoderLayer(5, 1, 8)], "has no rule"),
    "a weight used elsewhere": ([Around()], "used outside the layer's own forward"),
    "tied weights": ([Tied()], "share a parameter"),
    "an input changed in place": ([nn.Linear(5, 3), Overwrites()], "input of 'stack.1.linear'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_rules_do_not_cover_is_refused_by_name(name):
    layers, says = REFUSED[name]
    model, (_, batch) = Only(*layers), case("linear")
    with pytest.raises(PrivacyError, match=says):
        clipped_sum(
            model, cross_entropy, **batch, unit_B=torch.arange(6), num_units=6, max_grad_norm=1.0
        )


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"unit_B": torch.arange(5)}, "rows everywhere"),
        ({"num_units": 5}, "numbered"),
        ({"unit_B": torch.arange(6) - 1}, "numbered"),
        ({"max_grad_norm": 0.0}, "above 0"),
        ({"max_grad_norm": float("nan")}, "above 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changed, says):
    model, batch = case("linear")
    asked = {**batch, "unit_B": torch.arange(6), "num_units": 6, "max_grad_norm": 1.0, **changed}
    with pytest.raises(PrivacyError, match=says):
        clipped_sum(model, cross_entropy, **asked)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_laying_out_by_unit_keeps_every_row_once(units):
    unit_B = torch.tensor(units)
    layout = Units.of(unit_B, 5)
    rows_BSD = torch.arange(1.0, len(units) + 1).reshape(-1, 1, 1)
    laid = layout.laid_out(rows_BSD)
    assert laid.shape[0] == 5
    summed = torch.zeros(5).index_add_(0, unit_B, rows_BSD.flatten())
    assert torch.equal(laid.sum((1, 2)), summed)
    assert torch.equal(layout.summed(rows_BSD).flatten(), summed)
    shares = torch.zeros(5).index_add_(0, unit_B, layout.share_B)
    assert torch.allclose(shares[summed > 0], torch.ones(()))
