"""What the secure sum costs beside Flower's SecAgg+: CPU time, both alternating in one process."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import process_time
from typing import TypeVar

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from common.secagg import coordinator as co
from common.secagg import masks, ring
from common.secagg.channel import Identity
from common.secagg.layout import layout_of
from common.secagg.roster import Context, Member, MemoryLocks, Policy, Roster
from common.secagg.round import Sites
from common.secagg.site import check_mask
from simulations.bench.flower_secagg import CLIPPING_RANGE, Cost, fedavg_s, secagg_plus

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One figure.

    Args:
        what: was measured.
        sites: in the round.
        parameters: of the update.
        flower: its cost, in seconds of CPU or in bytes.
        tacit: this project's cost, in the same.
        ratio: how many times less this project needs; or, where it says "share", which
            share of the other's cost it needs.
        asked: the least ratio asked for; the largest share.
        met: whether it is met.
    """

    what: str
    sites: int
    parameters: int
    flower: float
    tacit: float
    ratio: float
    asked: float
    met: bool


def measure(
    sites: Sequence[int] = (10, 50),
    parameters: int = 1_000_000,
    repetitions: int = 2,
    share_sites: int = 100,
) -> list[Row]:
    """Return the table of figures, each the least of several repetitions.

    Args:
        sites: cohorts to measure.
        parameters: of the update.
        repetitions: rounds of either side, alternating; more than 20 sites are played once.
        share_sites: cohort whose SHARE stage is measured, on a tiny update.
    """
    rows = [_masks_row(parameters)]
    for n in sites:
        rounds = repetitions if n <= 20 else 1
        rows += _round_rows(n, parameters, rounds)
    rows += _share_rows(share_sites)
    return rows


def _least(costs: Sequence[Cost]) -> Cost:
    """Return the least of each figure."""
    return Cost(
        min(cost.client_share_s for cost in costs),
        min(cost.client_mask_s for cost in costs),
        min(cost.server_s for cost in costs),
        min(cost.upload_bytes for cost in costs),
    )


def _alternating(n: int, parameters: int, lost: int, repetitions: int) -> tuple[Cost, Cost]:
    """Return the least costs of Flower and of this project, one round of each in turn."""
    pairs = [
        (secagg_plus(n, parameters, lost, i), secure_sum(n, parameters, lost))
        for i in range(repetitions)
    ]
    return _least([pair[0] for pair in pairs]), _least([pair[1] for pair in pairs])


def _round_rows(n: int, parameters: int, repetitions: int) -> list[Row]:
    """Return the figures of whole rounds of n sites."""
    client_asked, server_asked = (12.0, 30.0) if n <= 20 else (14.0, 100.0)
    flower, tacit = _alternating(n, parameters, 0, repetitions)
    lossy, ours = _alternating(n, parameters, n // 10, repetitions)
    plain = min(fedavg_s(n, parameters) for _ in range(3))
    return [
        _faster(
            "client: quantise, mask, serialise",
            (n, parameters),
            (flower.client_mask_s, tacit.client_mask_s),
            client_asked,
        ),
        _faster(
            "server: sum, recover, decode",
            (n, parameters),
            (flower.server_s, tacit.server_s),
            server_asked,
        ),
        _faster(
            "server, 10 % dropped", (n, parameters), (lossy.server_s, ours.server_s), server_asked
        ),
        _share(
            "server against plaintext FedAvg (share)",
            (n, parameters),
            (plain, tacit.server_s),
            0.5,
        ),
        _share(
            "upload against float32 (share)",
            (n, parameters),
            (4.0 * parameters, tacit.upload_bytes),
            0.67,
        ),
    ]


def _share_rows(n: int) -> list[Row]:
    """Return the cost of the SHARE stage at a client, both suites."""
    flower = secagg_plus(n, 100).client_share_s
    rows = []
    for suite in ("x25519", "mlkem768_x25519"):
        tacit = secure_sum(n, 100, suite=suite).client_share_s
        rows.append(_faster(f"share stage, {suite}", (n, 100), (flower, tacit), 50.0))
    return rows


def _masks_row(parameters: int) -> Row:
    """Return the cost of masks applied against the raw AES-256-CTR of the same library."""
    words_W = np.zeros(parameters // 3, np.uint64)
    keys, zeros = [os.urandom(32) for _ in range(20)], bytes(words_W.nbytes)

    def raw() -> None:
        for key in keys:
            Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update(zeros)

    raw_s = min(_timed(raw) for _ in range(5))
    ours_s = min(_timed(lambda: masks.apply(words_W, keys, [])) for _ in range(5))
    return _faster("masks applied against raw AES-256-CTR", (20, parameters), (raw_s, ours_s), 1.5)


def _faster(what: str, size: tuple[int, int], costs: tuple[float, float], asked: float) -> Row:
    ratio = costs[0] / costs[1]
    return Row(what, *size, *costs, ratio, asked, ratio >= asked)


def _share(what: str, size: tuple[int, int], costs: tuple[float, float], asked: float) -> Row:
    share = costs[1] / costs[0]
    return Row(what, *size, *costs, share, asked, round(share, 2) <= asked)


def _timed(run: Callable[[], object]) -> float:
    started = process_time()
    run()
    return process_time() - started


@dataclass
class _Clock:
    """CPU seconds spent in calls that went through it."""

    spent_s: float = 0.0

    def __call__(self, run: Callable[[], T]) -> T:
        started = process_time()
        out = run()
        self.spent_s += process_time() - started
        return out


def secure_sum(n: int, parameters: int, lost: int = 0, suite: str = "x25519") -> Cost:
    """Return what one round of this project's secure sum costs.

    Args:
        n: sites.
        parameters: float32 values of an update.
        lost: sites that are gone from MASK on.
        suite: of the encryption between sites.
    """
    return _Round(n, parameters, lost, suite).play()


class _Round:
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
        self.least_share_s = self.least_mask_s = float("inf")

    def play(self) -> Cost:
        """Play the round and return its cost."""
        server = _Clock()
        state, requests = co.open_round(self.policy, self.context, tuple(self.policy.roster))
        adverted, requests = co.advertised(state, self.sites("advertise", requests))
        keyed = co.shared(adverted, {site: self.share(site, r) for site, r in requests.items()})
        masking, requests = co.masking(keyed)
        uploads = {site: self.mask(site, requests[site]) for site in self.there}
        confirming, requests = server(lambda: co.masked(masking, uploads))
        replies = self.sites("confirm", requests)
        unmasking, requests = server(lambda: co.confirmed(confirming, replies))
        reveals = self.sites("unmask", requests)
        outcome = server(lambda: co.unmasked(unmasking, reveals))
        server(lambda: ring.decode(self.layout, outcome.words_W, len(outcome.contributors)))
        size = len(next(iter(uploads.values())))
        return Cost(self.least_share_s, self.least_mask_s, server.spent_s, size)

    def share(self, site: str, request: bytes) -> bytes:
        """Return a site's dealing, and note its time."""
        started = process_time()
        reply = self.sites.reply("share", site, request)
        self.least_share_s = min(self.least_share_s, process_time() - started)
        return reply

    def mask(self, site: str, request: bytes) -> bytes:
        """Return a site's upload, and note the time to quantise, mask and serialise it.

        What the neighbours dealt is opened before, as a site does before it trains.
        """
        member, state = self.sites.members[site], self.sites.states[site]
        model = self.context.model_hash
        self.sites.states[site] = check_mask(member, state, request, model_hash=model)  # type: ignore[arg-type]
        started = process_time()
        self.sites.vectors[site] = ring.encode(  # type: ignore[index]
            self.layout, {"w": self.update_P}, {"n": 100}, {}, os.urandom
        )
        reply = self.sites.reply("mask", site, request)
        self.least_mask_s = min(self.least_mask_s, process_time() - started)
        return reply
