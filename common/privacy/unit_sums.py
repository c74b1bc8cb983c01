"""Sums over a unit's positions and over units, with bounds on their errors.

Values are single precision and may be anything finite. What is fast, a matrix product in single
precision, states a bound on its own rounding; whoever calls decides whether that is good enough,
and else asks for double precision, in which products of values are exact and nothing overflows.

Letters: U units, S positions of a unit, I inputs, O outputs, D values at a position, K some
units, N all positions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MOST_VALUES = 1 << 22
"""Largest number of values of unit gradients that are held at once while norms are taken."""
ROUNDOFF = 2.0**-52
"""Twice what one operation in double precision is off by, relatively."""
SINGLE = 2.0**-24
"""What one operation in single precision is off by, relatively."""
VANISHED = 2.0**-50
"""Added to lengths: values below 2^-63 vanish when single precision squares them."""
FEW_VALUES = 1 << 16
"""How many values of unit gradients stay in the cache of a processor core."""
FORMING = 15
"""What it takes to write and read a value of a gradient once, in multiplications."""
STRIPE = 64
"""How many squares are added in single precision at once."""


@dataclass(frozen=True)
class Sizes:
    """What is known of sums that make up each unit's gradient.

    Args:
        squares_U: squared norms.
        doubts_U: most by which a squared norm may be off; it may be anything where the square
            is not finite.
        masses_U: squared norms if nothing cancelled, or more; not below the squared norm.
        longest: the greatest length of an input.
    """

    squares_U: Tensor
    doubts_U: Tensor
    masses_U: Tensor
    longest: Tensor


@dataclass(frozen=True)
class Factors:
    """Two tensors of a layer's Σ_s b_s a_sᵀ for each unit.

    Args:
        a_USI: inputs.
        b_USO: gradients of outputs.
        bias: whether each input ends in a one that is not written down: the layer's bias is one
            column more of its weight.
    """

    a_USI: Tensor
    b_USO: Tensor
    bias: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Positions, inputs and outputs."""
        return self.a_USI.shape[1], self.a_USI.shape[2], self.b_USO.shape[2]

    def of(self, unit_K: Tensor) -> "Factors":
        """Return those of some units."""
        return Factors(self.a_USI[unit_K], self.b_USO[unit_K], self.bias)


def outer_sizes(layers: Sequence[Factors]) -> Sizes:
    """Return what is known of the Σ_s b_s a_sᵀ of some layers together by single precision.

    Args:
        layers: at least one, with one number of positions, none to be formed (`by_forming`).

    Source: Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1: a sum
    of n products in any order is off by at most n roundings of the sum of absolute values.
    """
    positions = layers[0].shape[0]
    a_LUS = torch.stack([quick_lengths(layer.a_USI) for layer in layers]).double()
    b_LUS = torch.stack([quick_lengths(layer.b_USO) for layer in layers]).double()
    longest = a_LUS.amax()
    bias_L, width_L = b_LUS.new_tensor([(layer.bias, sum(layer.shape)) for layer in layers]).T
    a_LUS = a_LUS.square().add_(bias_L[:, None, None]).sqrt_()
    masses_LU = ((a_LUS + VANISHED) * (b_LUS + VANISHED)).sum(2).square_()
    if positions == 1:
        squares_U = (a_LUS * b_LUS).square_().sum((0, 2))
    else:
        gram_LUS = torch.stack([gram_sums(layer) for layer in layers])
        squares_U = gram_LUS.double().sum(2).clamp_(min=0).sum(0)
    doubts_U = ((2 * width_L + 24) * SINGLE) @ masses_LU
    return Sizes(squares_U, doubts_U, masses_LU.sum(0), longest)


def formed_sizes(layer: Factors) -> Sizes:
    """Return what is known of a layer's Σ_s b_s a_sᵀ (no bias) by forming them."""
    positions, inputs, _ = layer.shape
    a_US, b_US = quick_lengths(layer.a_USI).double(), quick_lengths(layer.b_USO).double()
    masses_U = ((a_US + VANISHED) * (b_US + VANISHED)).sum(1).square()
    squares_U = formed_squares(layer.a_USI, layer.b_USO)
    doubts_U = positions * SINGLE * masses_U.sqrt()
    doubts_U = doubts_U * (2 * squares_U.sqrt() + doubts_U) + stripe_doubts(squares_U, inputs)
    return Sizes(squares_U, doubts_U, masses_U, a_US.amax())


def by_forming(positions: int, inputs: int, outputs: int) -> bool:
    """Return whether a unit's norm costs less by forming its gradient than by Gram matrices."""
    grams = positions**2 * (inputs + outputs)
    return positions > 1 and norm_cost(positions, inputs, outputs) < grams


def norm_cost(positions: int, inputs: int, outputs: int) -> int:
    """Return what a unit's norm costs by the cheaper way, in multiplications."""
    formed = (positions + FORMING) * inputs * outputs
    return min(formed, positions**2 * (inputs + outputs))


def gram_sums(layer: Factors) -> Tensor:
    """Return sums of a Gram matrix's columns that make up squared norms, in single precision."""
    gram_USS = torch.bmm(layer.a_USI, layer.a_USI.mT)
    if layer.bias:
        gram_USS += 1
    return gram_USS.mul_(torch.bmm(layer.b_USO, layer.b_USO.mT)).sum(1)


def formed_squares(a_USI: Tensor, b_USO: Tensor) -> Tensor:
    """Return squared norms by forming a few units' gradients at a time, in single precision."""
    at_once = max(1, FEW_VALUES // (a_USI.shape[2] * b_USO.shape[2]))
    pairs = zip(a_USI.split(at_once), b_USO.split(at_once), strict=True)
    return torch.cat([striped_squares(torch.bmm(b.mT, a)) for a, b in pairs])


def outer_norms(layer: Factors) -> tuple[Tensor, Tensor]:
    """Return ‖Σ_s b_s a_sᵀ‖² for some units in double precision or a little more, and masses."""
    positions, inputs, outputs = layer.shape
    a_KS, b_KS = lengths(layer.a_USI), lengths(layer.b_USO)
    masses_K = ((a_KS.square() + int(layer.bias)).sqrt() * b_KS).sum(1).square()
    if positions == 1:
        return masses_K, masses_K
    if 2 * positions**2 <= inputs * outputs:
        a_KSI, b_KSO = layer.a_USI.double(), layer.b_USO.double()
        gram = torch.bmm(a_KSI, a_KSI.mT).add_(int(layer.bias)) * torch.bmm(b_KSO, b_KSO.mT)
        return gram_total(gram, inputs + outputs + 1, masses_K), masses_K
    at_once = max(1, MOST_VALUES // (inputs * outputs))
    pairs = zip(layer.a_USI.split(at_once), layer.b_USO.split(at_once), strict=True)
    norms_K = torch.cat([squares(torch.bmm(b.double().mT, a.double())) for a, b in pairs])
    if layer.bias:
        norms_K += squares(layer.b_USO.double().sum(1))
    return norms_K, masses_K


def gram_total(gram_KSS: Tensor, width: int, masses_K: Tensor) -> Tensor:
    """Return an upper bound of the total of a matrix of products of dot products.

    Args:
        gram_KSS: the products, in double precision.
        width: how many values their dot products have, together.
        masses_K: the total if all values were replaced by their absolute values, or more.
    """
    roundings = width + gram_KSS.shape[1] ** 2 + 8
    return gram_KSS.sum((1, 2)).clamp_(min=0) + roundings * ROUNDOFF * masses_K


def outer_sum(a_NI: Tensor, b_NO: Tensor, factors_N: Tensor, terms: int) -> Tensor:
    """Return Σ_n factor_n b_n a_nᵀ.

    Args:
        a_NI: the positions of all units.
        b_NO: the same.
        factors_N: one for each position.
        terms: as for `in_blocks`; 0 is for double precision throughout.
    """
    if terms:
        narrow_N1 = factors_N.to(b_NO.dtype)[:, None]
        if b_NO.shape[1] > a_NI.shape[1]:
            return in_blocks(len(a_NI), terms, lambda n: b_NO[n].t() @ (a_NI[n] * narrow_N1[n]))
        return in_blocks(len(a_NI), terms, lambda n: (b_NO[n] * narrow_N1[n]).t() @ a_NI[n])
    out = a_NI.new_zeros(b_NO.shape[1], a_NI.shape[1], dtype=torch.float64)
    at_once = max(1, MOST_VALUES // (a_NI.shape[1] + b_NO.shape[1]))
    pieces = (tensor.split(at_once) for tensor in (a_NI, b_NO, factors_N))
    for a, b, factors in zip(*pieces, strict=True):
        out.addmm_((b.double() * factors.double()[:, None]).t(), a.double())
    return out


def unit_sum(tensor_U: Tensor, factors_U: Tensor, terms: int) -> Tensor:
    """Return Σ_u factor_u · tensor_u; `terms` as for `outer_sum`."""
    flat_UP = tensor_U.flatten(1)
    if terms:
        narrow_U = factors_U.to(flat_UP.dtype)
        out = in_blocks(len(flat_UP), terms, lambda u: narrow_U[u] @ flat_UP[u])
        return out.reshape(tensor_U.shape[1:])
    out = factors_U.new_zeros(flat_UP.shape[1], dtype=torch.float64)
    at_once = max(1, MOST_VALUES // max(1, len(out)))
    for piece, factors in zip(flat_UP.split(at_once), factors_U.split(at_once), strict=True):
        out.addmv_(piece.double().t(), factors.double())
    return out.reshape(tensor_U.shape[1:])


def in_blocks(count: int, terms: int, summed: Callable[[slice], Tensor]) -> Tensor:
    """Return a sum of `count` terms, in single precision.

    Args:
        count: number of terms.
        terms: on how many roundings each term may go: blocks of terms are added in single
            precision, blocks too, as many as still allowed, and what these come to in double.
        summed: adds the terms of a slice in single precision, in any order.

    Source: Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 4.2: n terms
    added in any order, and m such sums one after the other, are off by at most n + m roundings.
    """
    if count <= terms:
        return summed(slice(0, count))
    blocks = next((n for n in range(2, terms // 3) if n * (terms - n) >= count), terms // 3)
    size = terms - blocks
    total: Tensor | None = None
    for start in range(0, count, blocks * size):
        part = summed(slice(start, start + size))
        for first in range(start + size, min(start + blocks * size, count), size):
            part += summed(slice(first, min(first + size, count)))
        total = part if total is None else total.double().add_(part)
    return summed(slice(0, 0)) if total is None else total.float()


def held_sizes(tensor_U: Tensor) -> Sizes:
    """Return what is known of gradients that are held as they are: nothing cancels any more."""
    values = tensor_U[0].numel()
    none = tensor_U.new_zeros((), dtype=torch.float64)
    if values <= STRIPE * STRIPE or values % STRIPE:
        squares_U = squares(tensor_U)
        return Sizes(squares_U, torch.zeros_like(squares_U), squares_U, none)
    squares_U = striped_squares(tensor_U)
    doubts_U = stripe_doubts(squares_U, values)
    return Sizes(squares_U, doubts_U, squares_U + doubts_U, none)


def striped_squares(tensor_U: Tensor) -> Tensor:
    """Return each unit's sum of squares, a few of them at a time in single precision."""
    values = tensor_U[0].numel()
    stripe = STRIPE if values % STRIPE == 0 else tensor_U.shape[-1]
    values_UND = tensor_U.reshape(len(tensor_U), -1, stripe)
    stripes_UN: Tensor = torch.linalg.vector_norm(values_UND, dim=2)
    return stripes_UN.double().square().sum(1)


def stripe_doubts(squares_U: Tensor, values: int) -> Tensor:
    """Return most by which `striped_squares` is off, for at most so many values in a stripe."""
    stripe = max(STRIPE, values) if values % STRIPE else STRIPE
    return 2 * (stripe + 4) * SINGLE * squares_U + values**2 * VANISHED**2


def squares(tensor_U: Tensor) -> Tensor:
    """Return each unit's sum of squares, in double precision: none overflows or vanishes."""
    norms: Tensor = torch.linalg.vector_norm(tensor_U.flatten(1), dim=1, dtype=torch.float64)
    return norms.square()


def lengths(tensor_USD: Tensor) -> Tensor:
    """Return the norm at each position, in double precision."""
    norms: Tensor = torch.linalg.vector_norm(tensor_USD, dim=2, dtype=torch.float64)
    return norms


def quick_lengths(tensor_USD: Tensor) -> Tensor:
    """Return the norm at each position in single precision; add VANISHED for a bound."""
    norms: Tensor = torch.linalg.vector_norm(tensor_USD, dim=2)
    return norms
