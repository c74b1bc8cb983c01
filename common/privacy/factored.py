"""The layout of units, and gradients of units that are not formed but kept as sums of products.

Inputs and backprops are single precision and may be anything finite: whoever sent the weights
chose them. Rounding errors are shares of a unit's *mass*, the norm that its gradient would have if
nothing cancelled, and not of its norm: so each sum states its mass, and how far its norm may be
off (docs/privacy.md, Guarantee 1).

Letters: B rows, U units, S positions of a unit (rows × time), I inputs, O outputs, K some units.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor

from common.privacy.unit_sums import (
    SINGLE,
    VANISHED,
    Factors,
    Sizes,
    by_forming,
    formed_sizes,
    gram_total,
    lengths,
    norm_cost,
    outer_norms,
    outer_sizes,
    outer_sum,
    quick_lengths,
    unit_sum,
)

HOLDING = 100
"""What it takes to hold and read a value of a unit's gradient, in multiplications."""
MEMORY = 2.5
"""How many times the memory of its factors a held gradient may take."""


@dataclass(frozen=True)
class Units:
    """Which rows belong together.

    Args:
        unit_B: the unit of each row.
        num_units: U.
        share_B: 1 / number of rows of the row's unit.
        slot_B: the row's place when units are laid out with `longest` places each; None
            where the rows lie that way already.
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
        count_U = torch.bincount(unit_B, minlength=num_units)
        longest = int(count_U.max())
        share_B = 1 / count_U[unit_B].to(torch.float32)
        in_order = torch.arange(num_units, device=unit_B.device).repeat_interleave(longest)
        if torch.equal(unit_B, in_order):
            return Units(unit_B, num_units, share_B, None, longest)
        order_B = torch.argsort(unit_B, stable=True)
        first_U = torch.cumsum(count_U, 0) - count_U
        place_B = torch.empty_like(unit_B)
        place_B[order_B] = torch.arange(rows, device=unit_B.device) - first_U[unit_B[order_B]]
        return Units(unit_B, num_units, share_B, unit_B * longest + place_B, longest)

    def laid_out(self, rows_BSD: Tensor) -> Tensor:
        """Turn (B, S, D) into (U, longest · S, D); places without a row are zero."""
        if self.longest == 1 and self.slot_B is None:
            return rows_BSD
        shape = rows_BSD.shape[1:]
        out = rows_BSD
        if self.slot_B is not None:
            out = rows_BSD.new_zeros(self.num_units * self.longest, *shape)
            out[self.slot_B] = rows_BSD
        return out.reshape(self.num_units, self.longest * shape[0], *shape[1:])

    def summed(self, rows_B: Tensor) -> Tensor:
        """Sum rows by unit: (B, …) to (U, …).

        Guarantees: one row after the other, so that a unit's last bits are its own.
        """
        if self.slot_B is None and self.longest == 1:
            return rows_B
        out = rows_B.new_zeros(self.num_units, *rows_B.shape[1:])
        return out.index_add_(0, self.unit_B, rows_B)


class Shares:
    """By what each unit's gradient is multiplied in a sum.

    Args:
        factors_U: one for each unit.
        terms: as for `unit_sums.in_blocks`; 0 is for double precision throughout.
        units: which rows belong together.
    """

    def __init__(self, factors_U: Tensor, terms: int, units: Units) -> None:
        self.factors_U, self.terms = factors_U.to(torch.float32) if terms else factors_U, terms
        self._units = units
        self._by_places: dict[int, Tensor] = {}

    def along(self, places: int) -> Tensor:
        """Return the factor of each position, where a row has so many."""
        if places not in self._by_places:
            is_plain = self._units.slot_B is None and self._units.longest == 1
            factors_B = self.factors_U if is_plain else self.factors_U[self._units.unit_B]
            spread = factors_B if places == 1 else factors_B.repeat_interleave(places)
            self._by_places[places] = spread
        return self._by_places[places]


class Factored(Protocol):
    """Gradients of units that are not formed."""

    def norms(self, unit_K: Tensor) -> tuple[Tensor, Tensor]:
        """Return squared norms (or a little more) and masses of some units, in double precision."""

    def total(self, shares: Shares) -> dict[str, Tensor]:
        """Return Σ_u factor_u · gradient_u, by parameter name."""


@dataclass(frozen=True)
class Outer:
    """Σ_s b_s a_sᵀ for each unit: the weight of a linear layer, and its bias where that is wanted.

    Args:
        a_BSI: inputs.
        b_BSO: gradients of outputs.
        units: which rows belong together.
        bias: whether the bias is wanted too: Σ_s b_s.
    """

    a_BSI: Tensor
    b_BSO: Tensor
    units: Units
    bias: bool = False

    @property
    def is_better_held(self) -> bool:
        """Whether forming each row's gradient is cheaper than two passes over the positions.

        It is never done where that takes much more memory than the factors.
        """
        places, rows = self.a_BSI.shape[1], self.units.longest
        inputs, outputs = self.a_BSI.shape[2], self.b_BSO.shape[2]
        fewest = norm_cost(places * rows, inputs, outputs)
        formed = inputs * outputs
        return HOLDING * formed * rows <= fewest and formed <= MEMORY * places * (inputs + outputs)

    @property
    def is_formed(self) -> bool:
        """Whether norms are taken by forming a few units' gradients; of the weight alone then."""
        positions = self.a_BSI.shape[1] * self.units.longest
        return by_forming(positions, self.a_BSI.shape[2], self.b_BSO.shape[2])

    def held(self) -> Tensor:
        """Return the gradients (U, O, I) of the weight."""
        return self.units.summed(torch.bmm(self.b_BSO.mT, self.a_BSI))

    def norms(self, unit_K: Tensor) -> tuple[Tensor, Tensor]:
        """Return squared norms (or a little more) and masses of some units, in double precision."""
        return outer_norms(self.factors.of(unit_K))

    def total(self, shares: Shares) -> dict[str, Tensor]:
        """Return Σ_u factor_u · gradient_u, by parameter name."""
        factors_N, terms = shares.along(self.a_BSI.shape[1]), shares.terms
        a_NI, b_NO = self.a_BSI.flatten(0, 1), self.b_BSO.flatten(0, 1)
        out = {"weight": outer_sum(a_NI, b_NO, factors_N, terms)}
        if self.bias:
            out["bias"] = unit_sum(b_NO, factors_N, terms)
        return out

    @cached_property
    def factors(self) -> Factors:
        """The same by unit."""
        laid_out = self.units.laid_out
        return Factors(laid_out(self.a_BSI), laid_out(self.b_BSO), self.bias)


def factored_sizes(gradients: Iterable[Factored]) -> list[Sizes]:
    """Return what single precision tells of norms: together for layers of like positions."""
    every = list(gradients)
    outers = [each for each in every if isinstance(each, Outer)]
    found = [each.sizes() for each in every if isinstance(each, Table)]
    found += [formed_sizes(outer.factors) for outer in outers if outer.is_formed]
    others = [outer.factors for outer in outers if not outer.is_formed]
    others.sort(key=lambda factors: factors.shape[0])
    for _, alike in groupby(others, key=lambda factors: factors.shape[0]):
        found.append(outer_sizes(list(alike)))
    return found


@dataclass(frozen=True)
class Table:
    """Σ b_s in row v over the positions s that hold token v: the weight of an embedding.

    Args:
        token_US: which row each position reads.
        b_USO: the gradient of what it read.
        rows: of the table.
    """

    token_US: Tensor
    b_USO: Tensor
    rows: int

    def sizes(self) -> Sizes:
        """Return what single precision tells of each unit's norm."""
        lengths_US, same_USS = quick_lengths(self.b_USO).double() + VANISHED, self._same()
        masses_U = torch.einsum("us,ust,ut->u", lengths_US, same_USS.double(), lengths_US)
        gram_USS = torch.bmm(self.b_USO, self.b_USO.mT).mul_(same_USS)
        squares_U = gram_USS.sum((1, 2), dtype=torch.float64).clamp_(min=0)
        doubts_U = (2 * self.b_USO.shape[2] + 16) * SINGLE * masses_U
        return Sizes(squares_U, doubts_U, masses_U, lengths_US.new_zeros(()))

    def norms(self, unit_K: Tensor) -> tuple[Tensor, Tensor]:
        """Return squared norms (or a little more) and masses of some units, in double precision."""
        wide_KSO, same_KSS = self.b_USO[unit_K].double(), self._same(unit_K).double()
        lengths_KS = lengths(wide_KSO)
        masses_K = torch.einsum("us,ust,ut->u", lengths_KS, same_KSS, lengths_KS)
        gram_KSS = torch.bmm(wide_KSO, wide_KSO.mT) * same_KSS
        return gram_total(gram_KSS, wide_KSO.shape[2], masses_K), masses_K

    def total(self, shares: Shares) -> dict[str, Tensor]:
        """Return Σ_u factor_u · gradient_u; in single precision where no row has more terms."""
        token_N, b_NO = self.token_US.flatten(), self.b_USO.flatten(0, 1)
        factors_N1 = shares.factors_U.repeat_interleave(self.token_US.shape[1])[:, None]
        if shares.terms and int(torch.bincount(token_N).max()) <= shares.terms:
            out = b_NO.new_zeros(self.rows, b_NO.shape[1])
            return {"weight": out.index_add_(0, token_N, b_NO * factors_N1)}
        read_K, place_N = token_N.unique(return_inverse=True)
        sums_KO = b_NO.new_zeros(len(read_K), b_NO.shape[1], dtype=torch.float64)
        sums_KO.index_add_(0, place_N, b_NO.double() * factors_N1.double())
        dtype = torch.float32 if shares.terms else torch.float64
        out = b_NO.new_zeros(self.rows, b_NO.shape[1], dtype=dtype)
        out[read_K] = sums_KO.to(dtype)
        return {"weight": out}

    def _same(self, unit_K: Tensor | None = None) -> Tensor:
        token_KS = self.token_US if unit_K is None else self.token_US[unit_K]
        return token_KS[:, :, None] == token_KS[:, None, :]
