"""Sums over a unit's positions and over units, in double precision, with bounds on their errors.

Values are single precision and may be anything finite: their products are exact in double
precision, and none of them overflows or vanishes.

Letters: U units, S positions of a unit, I inputs, O outputs, D values at a position.
"""

import torch
from torch import Tensor

MOST_VALUES = 1 << 22
"""Largest number of values of unit gradients that are held at once while norms are taken."""
ROUNDOFF = 2.0**-52
"""Twice what one operation in double precision is off by, relatively."""


def outer_norms(a_USI: Tensor, b_USO: Tensor) -> tuple[Tensor, Tensor]:
    """Return ‖Σ_s b_s a_sᵀ‖² for each unit, by whichever way is shorter, and (Σ_s ‖b_s‖‖a_s‖)²."""
    positions, inputs, outputs = a_USI.shape[1], a_USI.shape[2], b_USO.shape[2]
    masses_U = (lengths(a_USI) * lengths(b_USO)).sum(1).square()
    if positions == 1:
        return masses_U, masses_U
    if 2 * positions**2 <= inputs * outputs:
        a_USI, b_USO = a_USI.double(), b_USO.double()
        gram = torch.bmm(a_USI, a_USI.mT) * torch.bmm(b_USO, b_USO.mT)
        return gram_total(gram, inputs + outputs, masses_U), masses_U
    at_once = max(1, MOST_VALUES // (inputs * outputs))
    pairs = zip(a_USI.split(at_once), b_USO.split(at_once), strict=True)
    found = [squares(torch.bmm(b.double().mT, a.double())) for a, b in pairs]
    return torch.cat(found), masses_U


def gram_total(gram_USS: Tensor, width: int, masses_U: Tensor) -> Tensor:
    """Return an upper bound of the total of a matrix of products of dot products.

    Args:
        gram_USS: the products, in double precision.
        width: how many values their dot products have, together.
        masses_U: the total if all values were replaced by their absolute values, or more.

    Source: Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1: a sum
    of n terms in any order is off by at most (n - 1) roundings of the sum of absolute values.
    """
    roundings = width + gram_USS.shape[1] ** 2 + 8
    return gram_USS.sum((1, 2)).clamp_(min=0) + roundings * ROUNDOFF * masses_U


def outer_sum(a_USI: Tensor, b_USO: Tensor, factors_U: Tensor) -> Tensor:
    """Return Σ_u factor_u Σ_s b_s a_sᵀ."""
    out = factors_U.new_zeros(b_USO.shape[2], a_USI.shape[2], dtype=torch.float64)
    at_once = max(1, MOST_VALUES // (a_USI[0].numel() + b_USO[0].numel()))
    pieces = (tensor.split(at_once) for tensor in (a_USI, b_USO, factors_U))
    for a, b, factors in zip(*pieces, strict=True):
        scaled = b.double() * factors.double()[:, None, None]
        out.addmm_(scaled.flatten(0, 1).t(), a.double().flatten(0, 1))
    return out


def unit_sum(tensor_U: Tensor, factors_U: Tensor) -> Tensor:
    """Return Σ_u factor_u · tensor_u."""
    out = factors_U.new_zeros(tensor_U[0].numel(), dtype=torch.float64)
    at_once = max(1, MOST_VALUES // max(1, len(out)))
    pieces = zip(tensor_U.flatten(1).split(at_once), factors_U.split(at_once), strict=True)
    for piece, factors in pieces:
        out.addmv_(piece.double().t(), factors.double())
    return out.reshape(tensor_U.shape[1:])


def squares(tensor_U: Tensor) -> Tensor:
    """Return each unit's sum of squares, in double precision: none overflows or vanishes."""
    norms: Tensor = torch.linalg.vector_norm(tensor_U.flatten(1), dim=1, dtype=torch.float64)
    return norms.square()


def lengths(tensor_USD: Tensor) -> Tensor:
    """Return the norm at each position, in double precision."""
    norms: Tensor = torch.linalg.vector_norm(tensor_USD, dim=2, dtype=torch.float64)
    return norms
