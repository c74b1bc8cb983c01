"""Who deals shares to whom, and how many shares recover a secret.

Up to 128 sites everyone deals to everyone, and the threshold is floor(2n/3) + 1 of the
sites that advertised. Beyond, each site has k neighbours on a graph that is drawn from the
roster's hash, so that the coordinator cannot choose it.

Source: Bell, Bonawitz, Gascón, Lepoint, Raykova, "Secure single-server aggregation with
(poly)logarithmic overhead", CCS 2020: the k-regular (Harary) graph over a random order.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from common.errors import ConfigError
from common.secagg.masks import stream

# sites: (neighbours, threshold) against a cheating coordinator, 10 % corrupt, 10 % dropped,
# 2^-40 of learning more, 2^-20 of failing
CHEATING = {100: (32, 22), 300: (70, 49), 1000: (100, 70), 10_000: (122, 85)}


def majority(sites: int) -> int:
    """Return t = floor(2n/3) + 1: two sets of that size share an honest site if n_c < n/3."""
    return 2 * sites // 3 + 1


@dataclass(frozen=True)
class Graph:
    """The dealing graph over a roster.

    Args:
        rule: how it is made, as the policy hashes it.
        neighbours: {site: all that it deals to, itself included, in ascending order}; None
            when everyone deals to everyone.
        share_threshold: shares that recover a secret; None for floor(2n/3) + 1 of the cohort.
    """

    rule: str
    neighbours: dict[str, tuple[str, ...]] | None = field(repr=False, default=None)
    share_threshold: int | None = None

    def around(self, site: str, cohort: Collection[str]) -> tuple[str, ...]:
        """Return those of the cohort that `site` deals to, itself included, ascending."""
        if self.neighbours is None:
            return tuple(sorted(cohort))
        return tuple(name for name in self.neighbours[site] if name in cohort)

    def threshold(self, cohort: int) -> int:
        """Return how many shares recover a secret in a cohort of that size."""
        return majority(cohort) if self.share_threshold is None else self.share_threshold


def complete(names: Collection[str]) -> Graph:
    """Return the graph in which everyone deals to everyone."""
    if len(set(names)) != len(names):
        raise ConfigError("the graph needs each site once")
    return Graph("complete, t = floor(2n/3) + 1")


def regular(names: tuple[str, ...], seed: bytes) -> Graph:
    """Return the k-regular graph over these sites that a public 32-byte seed draws.

    The sites are put in a random order on a circle; each deals to the k/2 nearest on
    either side, and to itself.
    """
    degree, threshold = size_for(len(names))
    ring = _shuffled(names, seed)
    place = {name: i for i, name in enumerate(ring)}
    reach = range(-(degree // 2), degree // 2 + 1)
    n = len(ring)
    around = {s: tuple(sorted(ring[(place[s] + j) % n] for j in reach)) for s in names}
    return Graph(f"regular, k = {degree}, t = {threshold}", around, threshold)


def size_for(sites: int) -> tuple[int, int]:
    """Return (neighbours, threshold) for that many sites: the next row of the table up."""
    for most, sizes in CHEATING.items():
        if sites <= most:
            return sizes
    raise ConfigError(f"at most {max(CHEATING)} sites can be in one sum, got {sites}")


def _shuffled(names: tuple[str, ...], seed: bytes) -> list[str]:
    """Return the names in the order of 64-bit draws from the seed's stream."""
    draws = stream(seed, 8 * len(names)).view(np.uint64)
    return [name for _, name in sorted(zip(draws.tolist(), names, strict=True))]
