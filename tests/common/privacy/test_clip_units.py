"""Single precision is used only where its own bound says that it is enough."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.privacy import clip_units as cu
from common.privacy.factored import Outer, Shares, Table, Units
from common.privacy.layer_rules import LayerGradient
from common.privacy.unit_sums import (
    SINGLE,
    Factors,
    formed_sizes,
    held_sizes,
    in_blocks,
    outer_norms,
    outer_sizes,
    outer_sum,
    squares,
    unit_sum,
)

SCALES = [1.0, 1e-25, 1e-12, 1e12, 1e25]


def exact_squares(a_USI, b_USO, bias=False):
    formed = torch.einsum("uso,usi->uoi", b_USO.double(), a_USI.double())
    of_bias_U = b_USO.double().sum(1).square().sum(1) if bias else 0
    return formed.flatten(1).square().sum(1) + of_bias_U


def is_sure(sizes, norm=1e-3):
    return cu.is_sure(sizes.squares_U, sizes.doubts_U, norm)


@pytest.mark.parametrize(
    "shape", [(5, 1, 40, 30), (5, 3, 40, 30), (3, 200, 4, 16), (3, 60, 64, 64)]
)
@pytest.mark.parametrize("scale_a", SCALES)
@pytest.mark.parametrize("scale_b", SCALES)
@pytest.mark.parametrize("cancels", [0.0, 1.0, 1 - 1e-4])
@pytest.mark.parametrize("way", ["formed", "together", "together, with a bias"])
def test_a_norm_in_single_precision_is_within_its_doubt_or_not_sure(
    shape, scale_a, scale_b, cancels, way
):
    units, positions, inputs, outputs = shape
    generator = torch.Generator().manual_seed(positions)
    a = torch.randn(units, positions, inputs, generator=generator)
    b = torch.randn(units, positions, outputs, generator=generator)
    half = positions // 2
    a[:, half : 2 * half], b[:, half : 2 * half] = a[:, :half], -cancels * b[:, :half]
    a, b = a * scale_a, b * scale_b
    layer = Factors(a, b, way == "together, with a bias")
    sizes = formed_sizes(layer) if way == "formed" else outer_sizes([layer])
    exact = exact_squares(a, b, layer.bias)
    sure = is_sure(sizes)
    off = (sizes.squares_U - exact).abs()
    assert (off <= sizes.doubts_U + 1e-9 * exact + 1e-30)[sure].all()
    again, masses = outer_norms(layer)
    assert (again >= exact * (1 - 1e-9)).all()
    assert (masses * (1 + 1e-5) >= again).all()


@pytest.mark.parametrize("positions", [1, 4])
def test_layers_together_come_to_what_each_comes_to(positions):
    generator = torch.Generator().manual_seed(positions)
    layers = [
        Factors(*(torch.randn(3, positions, width, generator=generator) for width in pair), bias)
        for pair, bias in (((4, 9), True), ((30, 2), False), ((4, 4), True))
    ]
    found, alone = outer_sizes(layers), [outer_sizes([layer]) for layer in layers]
    for name in ("squares_U", "doubts_U", "masses_U"):
        expected = torch.stack([getattr(each, name) for each in alone]).sum(0)
        assert torch.allclose(getattr(found, name), expected, rtol=1e-12)
    assert found.longest == max(each.longest for each in alone)


@pytest.mark.parametrize("scale", SCALES)
def test_held_gradients_are_within_their_doubt(scale):
    held = scale * torch.randn(4, 128, 64, generator=torch.Generator().manual_seed(0))
    sizes, exact = held_sizes(held), squares(held)
    sure = is_sure(sizes)
    assert ((sizes.squares_U - exact).abs() <= sizes.doubts_U + 1e-30)[sure].all()
    assert sure.all() or scale > 1e18 or scale < 1e-18


def test_what_cancels_too_far_for_single_precision_is_computed_again():
    a = torch.ones(2, 2, 32)
    b = torch.ones(2, 2, 32)
    b[0, 1] = -1 + 1e-4
    assert is_sure(outer_sizes([Factors(a, b)])).tolist() == [False, True]
    units = Units.of(torch.arange(2), 2)
    found = cu.clip_units({"l": LayerGradient({}, Outer(a, b, units))}, units, 1e-3)
    assert torch.allclose(found.norms_U, exact_squares(a, b).sqrt(), rtol=1e-6)


@given(st.floats(1e-6, 1e9), st.floats(0, 1e30), st.floats(1e-9, 1e9), st.integers(1, 9))
def test_the_terms_allowed_keep_the_error_within_the_share(mass, longest, norm, passes):
    """With n terms added in single precision, all passes are off by at most SUM_ERROR · C."""
    terms = cu.single_terms(mass, longest, norm, passes)
    assert terms == 0 or terms >= cu.LEAST_TERMS
    if terms:
        assert passes * (terms + 4) * SINGLE * mass <= cu.SUM_ERROR * norm


@pytest.mark.parametrize("longest", [float("nan"), float("inf"), 2.0**61])
def test_single_precision_is_not_used_where_products_may_vanish(longest):
    assert cu.single_terms(1.0, longest, 1.0, 1) == 0


def test_shares_of_the_margin_add_up_to_less_than_it():
    assert cu.NORM_DOUBT / 2 + 2 * cu.SUM_ERROR + 1e-4 < cu.ROUNDING


@given(st.integers(0, 2**31), st.sampled_from([1, 3, 20]), st.sampled_from([1.0, 30.0]))
@settings(max_examples=20, deadline=None)
def test_single_and_double_precision_give_sums_within_the_share(seed, positions, offset):
    generator = torch.Generator().manual_seed(seed)
    a = offset + torch.randn(40, positions, 24, generator=generator)
    b = torch.randn(40, positions, 16, generator=generator)
    units = Units.of(torch.arange(40), 40)
    layers = {"l": LayerGradient({}, Outer(a, b, units, bias=True))}
    quick = cu.clip_units(layers, units, 1.0).gradients
    wide = cu.clip_units(layers, units, 1.0, passes=10**9).gradients
    assert {tensor.dtype for tensor in wide.values()} == {torch.float64}
    off = torch.stack([(quick[name] - wide[name]).norm() for name in ("l.weight", "l.bias")])
    assert float(off.norm()) <= cu.SUM_ERROR


def test_shortened_products_are_not_trusted():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert cu.single_terms(1.0, 1.0, 1.0, 1) == 0
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_table_counts_a_token_that_comes_twice_as_one_row():
    tokens = torch.tensor([[1, 1, 2], [0, 1, 2]])
    b = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    sizes = Table(tokens, b, 4).sizes()
    rows = torch.zeros(2, 4, 5, dtype=torch.float64)
    for unit in range(2):
        rows[unit].index_add_(0, tokens[unit], b[unit].double())
    exact = rows.flatten(1).square().sum(1)
    assert ((sizes.squares_U - exact).abs() <= sizes.doubts_U + 1e-12).all()


class Counted:
    """A sum of so many terms, one of which went on so many roundings in single precision."""

    def __init__(self, terms, roundings):
        self.terms, self.roundings = terms, roundings

    def __iadd__(self, other):
        self.terms, self.roundings = (
            self.terms + other.terms,
            max(self.roundings, other.roundings) + 1,
        )
        return self

    def double(self):
        return self

    def add_(self, other):
        return Counted(self.terms + other.terms, max(self.roundings, other.roundings))

    def float(self):
        return self


@pytest.mark.parametrize("terms", [32, 64, 96, 1024])
@pytest.mark.parametrize("count", [1, 32, 33, 683, 700, 5000])
def test_blocks_hold_every_term_once_and_no_term_is_rounded_too_often(terms, count):
    seen = []

    def summed(place):
        seen.extend(range(count)[place])
        return Counted(len(range(count)[place]), len(range(count)[place]))

    found = in_blocks(count, terms, summed)
    assert found.terms == count
    assert found.roundings <= terms
    assert seen == list(range(count))


@pytest.mark.parametrize("terms", [32, 64, 1024])
def test_sums_in_single_precision_are_off_by_no_more_than_their_roundings(terms):
    generator = torch.Generator().manual_seed(terms)
    a_NI, b_NO = (torch.rand(4000, width, generator=generator) for width in (5, 7))
    factors_N = torch.rand(4000, generator=generator, dtype=torch.float64)
    exact = torch.einsum("n,no,ni->oi", factors_N, b_NO.double(), a_NI.double())
    for found in (
        outer_sum(a_NI, b_NO, factors_N, terms),
        unit_sum(b_NO[:, :, None] * a_NI[:, None], factors_N, terms),
    ):
        assert found.dtype == torch.float32
        assert bool(((found - exact).abs() <= (terms + 4) * SINGLE * exact).all())


@pytest.mark.parametrize("terms", [0, 32, 4096])
def test_a_table_adds_what_one_row_gathers(terms):
    """Rows with more terms than single precision may add are summed in double precision."""
    generator = torch.Generator().manual_seed(0)
    token_US = torch.randint(0, 9, (16, 40), generator=generator) * 3
    b_USO = torch.rand(16, 40, 4, generator=generator)
    factors_U = torch.rand(16, generator=generator, dtype=torch.float64)
    shares = Shares(factors_U, terms, Units.of(torch.arange(16), 16))
    found = Table(token_US, b_USO, 30).total(shares)["weight"]
    exact = torch.zeros(30, 4, dtype=torch.float64)
    scaled = b_USO.double() * factors_U[:, None, None]
    exact.index_add_(0, token_US.flatten(), scaled.flatten(0, 1))
    assert found.dtype == (torch.float32 if terms else torch.float64)
    assert bool(((found - exact).abs() <= ((terms or 0) + 4) * SINGLE * exact).all())


def test_where_torch_cannot_say_how_precise_products_are_they_are_not_trusted(monkeypatch):
    """Torch raises once its newer settings of precision were used."""

    def raising():
        raise RuntimeError("mixed settings")

    assert cu.is_single()
    monkeypatch.setattr(torch, "get_float32_matmul_precision", raising)
    assert not cu.is_single()
