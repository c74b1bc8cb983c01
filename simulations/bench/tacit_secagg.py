"""This project's secure sum, played in this process with the time of each stage."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from time import process_time
from typing import TypeVar

import numpy as np

from common.compiled import PATIENCE
from common.secagg import coordinator as co
from common.secagg import ring
from common.secagg.channel import Identity
from common.secagg.layout import layout_of
from common.secagg.progress import Adverted, Masking, Requests
from common.secagg.roster import Context, Member, MemoryLocks, Policy, Roster
from common.secagg.round import Sites
from common.secagg.site import check_mask
from simulations.bench.flower_secagg import CLIPPING_RANGE, Cost

T = TypeVar("T")
WARM_SITES, WARM_PARAMETERS = 6, 4 * PATIENCE
"""A round in which every loop goes over more than it does as Python."""


@dataclass
class _Clock:
    """CPU seconds spent in calls that went through it."""

    spent_s: float = 0.0

    def __call__(self, run: Callable[[], T]) -> T:
        started = process_time()
        out = run()
        self.spent_s += process_time() - started
        return out


def warm_up() -> None:
    """Play a round that nobody times, so that loops are compiled: that is once in a process."""
    secure_sum(WARM_SITES, WARM_PARAMETERS)


def secure_sum(n: int, parameters: int, lost: int = 0, suite: str = "x25519") -> Cost:
    """Return what one round of this project's secure sum costs.

    Args:
        n: sites.
        parameters: float32 values of an update.
        lost: sites that are gone from MASK on.
        suite: of the encryption between sites.
    """
    return Round(n, parameters, lost, suite).play()


class Round:
    """One round whose stages are timed."""

    def __init__(self, n: int, parameters: int, lost: int, suite: str) -> None:
        names = [f"site-{i:04}" for i in range(n)]
        identities = {name: Identity(name, os.urandom(32)) for name in names}
        self.layout = layout_of(
            n, {"w": (parameters,)}, CLIPPING_RANGE, weights={"n": 1024}, weight_of={"w": "n"}
        )
        roster = Roster({name: one.public_key for name, one in identities.items()})
        self.policy = Policy(roster, {"train": self.layout}, suite)
        self.context = Context(
            self.policy.policy_id, "bench", 1, 0, "train", bytes(32), os.urandom(32)
        )
        members = {k: Member(v, self.policy, MemoryLocks()) for k, v in identities.items()}
        empty = dict.fromkeys(names, np.empty(0, np.uint64))
        entropy = dict.fromkeys(names, os.urandom)
        self.sites = Sites(members, dict(empty), entropy, self.context)
        self.there = names[lost:]
        rng = np.random.default_rng(0)
        self.update_P = rng.normal(0, 0.5, parameters).astype(np.float32)
        self.least_s: dict[str, float] = {}
        self.routing = _Clock()

    def client_share_s(self, clients: int) -> float:
        """Play until some clients have dealt, and return the least of their times.

        They are those in the middle of the roster: a site seals a pair key to each that comes
        after it, so that the first do the most work and the last do the least.
        """
        _, requests = self.advertise()
        first = (len(self.there) - clients) // 2
        for site in self.there[first : first + clients]:
            self.reply("share", site, requests[site])
        return self.least_s["share"]

    def client_mask_s(self, clients: int) -> float:
        """Play until some clients have masked, and return the least of their times."""
        _, requests = self.deal()
        for site in self.there[:clients]:
            self.mask(site, requests[site])
        return self.least_s["mask"]

    def advertise(self) -> tuple[Adverted, Requests]:
        """Play the first stage: every site's keys."""
        sites = tuple(self.policy.roster)
        opened, requests = self.routing(lambda: co.open_round(self.policy, self.context, sites))
        replies = {site: self.reply("advertise", site, r) for site, r in requests.items()}
        return self.routing(lambda: co.advertised(opened, replies))

    def deal(self) -> tuple[Masking, Requests]:
        """Play until every site has dealt its shares."""
        adverted, requests = self.advertise()
        replies = {site: self.reply("share", site, r) for site, r in requests.items()}
        return self.routing(lambda: co.masking(co.shared(adverted, replies)))

    def play(self) -> Cost:
        """Play the round and return its cost."""
        summing = _Clock()
        masking, requests = self.deal()
        uploads = {site: self.mask(site, requests[site]) for site in self.there}
        confirming, requests = summing(lambda: co.masked(masking, uploads))
        confirmed = {site: self.reply("confirm", site, r) for site, r in requests.items()}
        unmasking, requests = summing(lambda: co.confirmed(confirming, confirmed))
        reveals = {site: self.reply("unmask", site, r) for site, r in requests.items()}
        outcome = summing(lambda: co.unmasked(unmasking, reveals))
        summing(lambda: ring.decode(self.layout, outcome.words_W, len(outcome.contributors)))
        return Cost(
            self.least_s["share"],
            self.least_s["mask"],
            summing.spent_s,
            len(next(iter(uploads.values()))),
            sum(self.least_s.values()),
            self.routing.spent_s + summing.spent_s,
        )

    def reply(self, stage: str, site: str, request: bytes) -> bytes:
        """Return a site's reply, and note its time."""
        return self.timed(stage, lambda: self.sites.reply(stage, site, request))

    def mask(self, site: str, request: bytes) -> bytes:
        """Return a site's upload, and note the time to quantise, mask and serialise it.

        What the neighbours dealt is opened before, as a site does before it trains; that
        counts to the whole round, not to masking. The encoded vector is not kept, since a
        site does not keep its own: all of them would be memory that one site never takes.
        """
        member, state = self.sites.members[site], self.sites.states[site]
        model = self.context.model_hash
        self.sites.states[site] = self.timed(
            "open",
            lambda: check_mask(member, state, request, model_hash=model),  # type: ignore[arg-type]
        )
        return self.timed("mask", lambda: self._masked(site, request))

    def _masked(self, site: str, request: bytes) -> bytes:
        self.sites.vectors[site] = ring.encode(  # type: ignore[index]
            self.layout, {"w": self.update_P}, {"n": 100}, {}, os.urandom
        )
        reply = self.sites.reply("mask", site, request)
        self.sites.vectors[site] = np.empty(0, np.uint64)  # type: ignore[index]
        return reply

    def timed(self, stage: str, run: Callable[[], T]) -> T:
        """Return what a site's step returns, and note its time where it is the least so far."""
        started = process_time()
        out = run()
        self.least_s[stage] = min(self.least_s.get(stage, float("inf")), process_time() - started)
        return out
