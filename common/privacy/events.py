"""What happened to the data of a site: frozen, versioned records.

What they cost is computed elsewhere.

The meaning of an event never changes: a new meaning is a new version. A record of an
unknown kind, version or field is refused, never guessed.
Source of the separation: dp_accounting's dp_event.py.
"""

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, get_args

import dp_accounting

from common.errors import PrivacyError
from common.privacy.shares import bounding_noise_multiplier

Unit = Literal["person", "record"]
UNITS: tuple[str, ...] = get_args(Unit)
ADJACENCY = "add_or_remove_one"


@dataclass(frozen=True)
class PoissonSampledGaussian:
    """Poisson-sampled sums of clipped vectors with Gaussian noise, as in DP-SGD.

    Args:
        sampling_rate: q, the probability with which each unit joins a step, in (0, 1].
        noise_multiplier: σ, standard deviation of the noise in units of the clipping norm.
        steps: how many such sums were released.
        unit: whose vector is clipped: "person" or "record".
    """

    kind: ClassVar[str] = "poisson_sampled_gaussian"
    version: ClassVar[int] = 1
    sampling_rate: float
    noise_multiplier: float
    steps: int
    unit: Unit

    def __post_init__(self) -> None:
        _check_rate(self.kind, self.sampling_rate)
        _check_noise(self.kind, self.noise_multiplier)
        _check_whole(self.kind, "steps", self.steps, least=0)
        _check_unit(self.kind, self.unit)

    def with_steps(self, steps: int) -> "PoissonSampledGaussian":
        """Return the same event with another number of steps."""
        return PoissonSampledGaussian(self.sampling_rate, self.noise_multiplier, steps, self.unit)


@dataclass(frozen=True)
class Gaussian:
    """Sums over all units with Gaussian noise: a statistic, a histogram, an evaluation count.

    Args:
        noise_multiplier: σ, standard deviation of the noise in units of the L2 sensitivity.
        count: how many such sums were released.
        unit: who the sensitivity speaks about: "person" or "record".
    """

    kind: ClassVar[str] = "gaussian"
    version: ClassVar[int] = 1
    noise_multiplier: float
    count: int
    unit: Unit

    def __post_init__(self) -> None:
        _check_noise(self.kind, self.noise_multiplier)
        _check_whole(self.kind, "count", self.count, least=0)
        _check_unit(self.kind, self.unit)

    @property
    def steps(self) -> int:
        """Return how many sums were released."""
        return self.count

    def with_steps(self, steps: int) -> "Gaussian":
        """Return the same event with another number of sums."""
        return Gaussian(self.noise_multiplier, steps, self.unit)


@dataclass(frozen=True)
class DiscreteGaussianShare:
    """A site's clipped sum on a grid, with its share of noise, released through a secure sum only.

    Args:
        sampling_rate: q, the probability with which each unit joins a step, in (0, 1].
        noise_multiplier: σ, standard deviation of the noise that `honest` shares add up to,
            in units of the clipping norm.
        steps: how many such sums were released.
        unit: whose vector is clipped: "person" or "record".
        honest: h, number of honest contributors that the secure sum guarantees.
        total: number of contributors of the sum; before it is known, the fewest allowed.
        clip_units: clipping norm in units of the grid.
        parameters: number of values in the vector.
    """

    kind: ClassVar[str] = "discrete_gaussian_share"
    version: ClassVar[int] = 1
    sampling_rate: float
    noise_multiplier: float
    steps: int
    unit: Unit
    honest: int
    total: int
    clip_units: int
    parameters: int

    def __post_init__(self) -> None:
        _check_rate(self.kind, self.sampling_rate)
        _check_noise(self.kind, self.noise_multiplier)
        _check_whole(self.kind, "steps", self.steps, least=0)
        _check_unit(self.kind, self.unit)
        _check_whole(self.kind, "honest", self.honest, least=1)
        _check_whole(self.kind, "total", self.total, least=self.honest)
        _check_whole(self.kind, "clip_units", self.clip_units, least=1)
        _check_whole(self.kind, "parameters", self.parameters, least=1)

    def with_steps(self, steps: int) -> "DiscreteGaussianShare":
        """Return the same event with another number of steps."""
        return DiscreteGaussianShare(**{**asdict(self), "steps": steps})


@dataclass(frozen=True)
class ExactThroughSecureSum:
    """Exact numbers that left only inside a secure sum: no ε, and not differentially private.

    Args:
        what: which numbers, in words for a report, e.g. "confusion counts".
        min_persons: fewest persons that stand behind the sum.
    """

    kind: ClassVar[str] = "exact_through_secure_sum"
    version: ClassVar[int] = 1
    what: str
    min_persons: int

    def __post_init__(self) -> None:
        if not isinstance(self.what, str) or not self.what.strip():
            raise PrivacyError(f"{self.kind}: `what` must say which numbers left; it is empty")
        _check_whole(self.kind, "min_persons", self.min_persons, least=1)

    @property
    def steps(self) -> int:
        """Return one: the numbers left once."""
        return 1

    def with_steps(self, steps: int) -> "ExactThroughSecureSum":
        """Return the event itself: an exact release has no steps."""
        del steps
        return self


Event = PoissonSampledGaussian | Gaussian | DiscreteGaussianShare | ExactThroughSecureSum
EVENTS: dict[tuple[str, int], type[Event]] = {
    (event.kind, event.version): event
    for event in (PoissonSampledGaussian, Gaussian, DiscreteGaussianShare, ExactThroughSecureSum)
}


def to_dict(event: Event) -> dict[str, Any]:
    """Return the event as a plain dict: kind, version, and the event's own fields."""
    return {"event": event.kind, "version": event.version, **asdict(event)}


def from_dict(record: Any) -> Event:
    """Read an event back.

    Raises:
        PrivacyError: the kind, the version or a field is unknown, missing or out of range.
    """
    if not isinstance(record, dict):
        raise PrivacyError(f"privacy event: expected an object, found {type(record).__name__}")
    body = dict(record)
    key = (body.pop("event", None), body.pop("version", None))
    if key not in EVENTS or isinstance(key[1], bool):
        known = ", ".join(f"{kind} v{version}" for kind, version in sorted(EVENTS))
        raise PrivacyError(
            f"privacy event: {key[0]!r} version {key[1]!r} is unknown; known: {known}; "
            "it was written by a newer Tacit, or is damaged"
        )
    cls = EVENTS[key]
    expected = {field.name for field in fields(cls)}
    if set(body) != expected:
        raise PrivacyError(
            f"privacy event {cls.kind}: expected the fields {sorted(expected)}, "
            f"found {sorted(map(str, body))}"
        )
    return cls(**body)


def to_json(event: Event) -> str:
    """Return canonical JSON: sorted keys, no spaces, floats that read back bit for bit."""
    return json.dumps(to_dict(event), sort_keys=True, separators=(",", ":"), allow_nan=False)


def from_json(text: str) -> Event:
    """Read an event from JSON.

    Raises:
        PrivacyError: the text is not JSON, or not a known event.
    """
    try:
        record = json.loads(text)
    except ValueError as error:
        raise PrivacyError(f"privacy event: not JSON ({error})") from None
    return from_dict(record)


def to_dp_event(event: Event) -> dp_accounting.DpEvent:
    """Return the event in dp_accounting's vocabulary, so that another accountant can read it.

    Guarantees: a discrete share is mapped to the Gaussian that bounds it (see `discrete.py`).
    """
    if isinstance(event, ExactThroughSecureSum):
        return dp_accounting.NonPrivateDpEvent()
    one: dp_accounting.DpEvent = dp_accounting.GaussianDpEvent(bounding_multiplier(event))
    if not isinstance(event, Gaussian):
        one = dp_accounting.PoissonSampledDpEvent(event.sampling_rate, one)
    return dp_accounting.SelfComposedDpEvent(one, event.steps)


def bounding_multiplier(event: PoissonSampledGaussian | Gaussian | DiscreteGaussianShare) -> float:
    """Return σ of the Gaussian mechanism of sensitivity 1 that costs at least one step."""
    if not isinstance(event, DiscreteGaussianShare):
        return event.noise_multiplier
    return bounding_noise_multiplier(
        event.noise_multiplier, event.clip_units, event.parameters, event.honest
    )


def _check_rate(kind: str, rate: float) -> None:
    if not _is_number(rate) or not 0 < rate <= 1:
        raise PrivacyError(f"{kind}: sampling_rate must be above 0 and at most 1, found {rate!r}")


def _check_noise(kind: str, noise_multiplier: float) -> None:
    if not _is_number(noise_multiplier) or noise_multiplier < 0:
        raise PrivacyError(
            f"{kind}: noise_multiplier must be finite and not below 0, found {noise_multiplier!r}"
        )


def _check_whole(kind: str, name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise PrivacyError(
            f"{kind}: {name} must be a whole number from {least} on, found {value!r}"
        )


def _check_unit(kind: str, unit: str) -> None:
    if unit not in UNITS:
        raise PrivacyError(f"{kind}: unit must be one of {', '.join(UNITS)}, found {unit!r}")


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)
