"""What stands where in the vector of 64-bit words that sites add up.

The vector is `[ packed fields | weights | exact lanes ]`. Real tensors are quantised to
signed fields, three of 21 bits a word up to 256 sites, two of 32 bits beyond. Weights and
exact lanes are one signed 64-bit integer a word.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, prod

from common.errors import ConfigError
from common.secagg.derive import digest

NARROW_SITES = 256


@dataclass(frozen=True)
class Real:
    """A tensor of real numbers, quantised.

    Args:
        name: of the tensor.
        shape: of the tensor; () for one number.
        scale: public; the largest absolute value that one site may send, weight included.
        weight: name of the weight that multiplies it; "" for none (its weight is 1).
    """

    name: str
    shape: tuple[int, ...]
    scale: float
    weight: str = ""

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@dataclass(frozen=True)
class Weight:
    """A count n_i that multiplies real tensors as w = n_i / cap.

    Args:
        name: of the weight; one for each group of parameters.
        cap: the largest n_i that a site may send; a power of two, public.
    """

    name: str
    cap: int


@dataclass(frozen=True)
class Exact:
    """A tensor of integers whose sum comes back exact: counts, histograms, integer buffers.

    Args:
        name: of the lane.
        shape: of the tensor; () for one number.
        cap: the largest absolute value that one site may send.
    """

    name: str
    shape: tuple[int, ...] = ()
    cap: int = 1 << 48

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The public meaning of every word, for at most `sites` contributors.

    Args:
        sites: most sites that can be in one sum; sets the field width and the value limit.
        reals: quantised tensors, in order.
        weights: counts that multiply them, in order.
        exacts: integer lanes, in order.

    Raises:
        ConfigError: a name twice, an unknown weight, a cap or scale out of range.
    """

    sites: int
    reals: tuple[Real, ...] = ()
    weights: tuple[Weight, ...] = ()
    exacts: tuple[Exact, ...] = ()

    def __post_init__(self) -> None:
        _check(self)

    @property
    def field_bits(self) -> int:
        """Width of one quantised field."""
        return 21 if self.sites <= NARROW_SITES else 32

    @property
    def fields_a_word(self) -> int:
        """Quantised fields in one word."""
        return 3 if self.sites <= NARROW_SITES else 2

    @property
    def limit(self) -> int:
        """L: the largest absolute field of one site; `sites` of them cannot overflow."""
        return ((1 << self.field_bits - 1) - 1) // self.sites

    @cached_property
    def fields(self) -> int:
        """How many quantised fields there are."""
        return sum(real.size for real in self.reals)

    @property
    def packed_words(self) -> int:
        """Words that the quantised fields take."""
        return -(-self.fields // self.fields_a_word)

    @cached_property
    def words(self) -> int:
        """Words of the whole vector."""
        integers = len(self.weights) + sum(exact.size for exact in self.exacts)
        return self.packed_words + integers

    @cached_property
    def digest(self) -> bytes:
        """The hash that a policy binds."""
        parts: list[bytes | str | int] = [self.sites, len(self.reals), len(self.weights)]
        for real in self.reals:
            parts += [real.name, real.weight, real.scale.hex(), len(real.shape), *real.shape]
        for weight in self.weights:
            parts += [weight.name, weight.cap]
        for exact in self.exacts:
            parts += [exact.name, exact.cap, len(exact.shape), *exact.shape]
        return digest("layout", *parts)

    def grid(self, real: Real) -> float:
        """Return the value of one quantisation step of a tensor."""
        return real.scale / self.limit

    def cap(self, weight: str) -> int:
        """Return the cap of a weight; 1 for the empty name."""
        return next((w.cap for w in self.weights if w.name == weight), 1)


def layout_of(
    sites: int,
    shapes: Mapping[str, tuple[int, ...]],
    scale: float | Mapping[str, float],
    *,
    weights: Mapping[str, int] | None = None,
    weight_of: Mapping[str, str] | None = None,
    exacts: Mapping[str, tuple[int, ...]] | None = None,
) -> Layout:
    """Return the layout of named tensors; the plain way to make one.

    Args:
        sites: most sites that can be in one sum.
        shapes: {tensor name: shape} of the real tensors, in order.
        scale: the largest absolute value a site may send, for all tensors or by name.
        weights: {weight name: cap}; caps are powers of two.
        weight_of: {tensor name: weight name}; a tensor left out is not weighted.
        exacts: {lane name: shape} of the integer lanes.
    """
    scales = scale if isinstance(scale, Mapping) else dict.fromkeys(shapes, scale)
    named = weight_of or {}
    reals = [Real(n, tuple(s), float(scales[n]), named.get(n, "")) for n, s in shapes.items()]
    lanes = [Exact(name, tuple(shape)) for name, shape in (exacts or {}).items()]
    caps = [Weight(name, cap) for name, cap in (weights or {}).items()]
    return Layout(sites, tuple(reals), tuple(caps), tuple(lanes))


def _check(layout: Layout) -> None:
    """Raise ConfigError where the layout contradicts itself."""
    if not 1 <= layout.sites <= 1 << 16:
        raise ConfigError(f"layout: expected 1 to 65536 sites, got {layout.sites}")
    weights = {weight.name for weight in layout.weights}
    names = [real.name for real in layout.reals] + [exact.name for exact in layout.exacts]
    names += [weight.name for weight in layout.weights]
    if len(set(names)) != len(names) or "" in names:
        raise ConfigError("layout: every tensor, weight and lane needs a name of its own")
    for real in layout.reals:
        if real.weight and real.weight not in weights:
            raise ConfigError(f"layout: {real.name} has the unknown weight {real.weight!r}")
        if not (isfinite(real.scale) and real.scale > 0):
            raise ConfigError(f"layout: {real.name} needs a finite scale above 0")
    for weight in layout.weights:
        if weight.cap < 1 or weight.cap & (weight.cap - 1) or weight.cap > 1 << 40:
            raise ConfigError(f"layout: the cap of {weight.name} must be a power of two to 2^40")
    for exact in layout.exacts:
        if not 1 <= exact.cap <= ((1 << 63) - 1) // layout.sites:
            raise ConfigError(f"layout: the cap of {exact.name} must be 1 to (2^63-1)/sites")
