"""How the secure sum's cost grows over parameters and over sites, on both sides."""

from collections.abc import Sequence
from dataclasses import dataclass

from simulations.bench import ckks
from simulations.bench.figures import Curve
from simulations.bench.flower_secagg import Cost, secagg_plus
from simulations.bench.tacit_secagg import secure_sum

FLOWER, TACIT = "Flower SecAgg+", "Tacit"
Costs = dict[str, list[tuple[int, float | None]]]


@dataclass(frozen=True)
class Point:
    """One size, and what a round of it cost.

    Args:
        sites: in the round.
        parameters: of the update.
        flower: what the round cost there.
        tacit: what it cost here.
        ckks_s: what CKKS costs a client; None where it was not measured.
    """

    sites: int
    parameters: int
    flower: Cost
    tacit: Cost
    ckks_s: float | None = None


def point(sites: int, parameters: int, lost: int = 0, with_ckks: bool = False) -> Point:
    """Measure one size, one round of either side."""
    tenseal = ckks.load() if with_ckks else None
    sealed = ckks.client(tenseal, parameters).seal_s if tenseal else None
    flower, tacit = secagg_plus(sites, parameters, lost), secure_sum(sites, parameters, lost)
    return Point(sites, parameters, flower, tacit, sealed)


def over_parameters(points: Sequence[Point]) -> list[Curve]:
    """Return the curves of a client's cost over the size of the update."""
    if not points:
        return []
    costs: Costs = {
        "CKKS (TenSEAL)": [(one.parameters, one.ckks_s) for one in points],
        FLOWER: [(one.parameters, one.flower.client_mask_s) for one in points],
        TACIT: [(one.parameters, one.tacit.client_mask_s) for one in points],
    }
    y = f"CPU of a client, {points[0].sites} sites"
    return _curves(costs, "parameters", y)


def over_sites(points: Sequence[Point], variant: str = "") -> list[Curve]:
    """Return the curves of the server's cost over the number of sites.

    Args:
        points: one for each cohort.
        variant: how they differ from others: "10 % dropped".
    """
    if not points:
        return []
    costs: Costs = {
        FLOWER: [(one.sites, one.flower.server_s) for one in points],
        TACIT: [(one.sites, one.tacit.server_s) for one in points],
    }
    y = f"CPU of the server, {points[0].parameters:,} parameters"
    return _curves(costs, "sites", y, variant)


def _curves(costs: Costs, x: str, y: str, variant: str = "") -> list[Curve]:
    """Return a curve for everybody of whom anything was measured."""
    known = {
        name: tuple((float(at), cost) for at, cost in found if cost is not None)
        for name, found in costs.items()
    }
    return [
        Curve(name, "tacit" if name == TACIT else "baseline", x, y, "s", found, variant)
        for name, found in known.items()
        if found
    ]
