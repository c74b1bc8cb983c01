"""Tables of sites that play whole rounds with entropy that can be repeated."""

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from common.privacy.ledger import Head
from common.secagg.channel import Identity
from common.secagg.layout import Layout, layout_of
from common.secagg.masks import Words
from common.secagg.progress import Outcome
from common.secagg.roster import Context, Member, MemoryLocks, Policy, Roster
from common.secagg.round import Sites, play
from common.witness import head_of, note_of, why_not

SUITES = ("x25519", "mlkem768_x25519")
STAGES = ("advertise", "share", "mask", "confirm", "unmask")


class Drbg:
    """Bytes that can be repeated: SHA-256 in counter mode; remembers what it gave."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.given: list[bytes] = []

    def __call__(self, size: int) -> bytes:
        out = b""
        while len(out) < size:
            block = f"{self.seed}/{len(self.given)}/{len(out)}".encode()
            out += hashlib.sha256(block).digest()
        self.given.append(out[:size])
        return out[:size]


class MemoryNotes:
    """Heads of a ledger that a test gives, and those of peers, as long as the process lives."""

    def __init__(self, own: bytes | None, kept: dict[str, bytes] | None = None) -> None:
        self.own = own
        self.of_peers = dict(kept or {})

    def mine(self) -> bytes | None:
        return self.own

    def kept(self) -> dict[str, bytes]:
        return dict(self.of_peers)

    def follows(self, before: bytes | None, after: bytes | None) -> str:
        return why_not(before, after)

    def keep(self, notes: dict[str, bytes]) -> None:
        for site, note in notes.items():
            before = self.of_peers.get(site)
            if before is None or head_of(note).seq > head_of(before).seq:
                self.of_peers[site] = note


def note(site: str, seq: int) -> bytes:
    """Return the head of a site's ledger when it had so many entries."""
    return note_of(Head(seq, hashlib.sha256(f"{site} {seq}".encode()).hexdigest()))


@dataclass
class Table:
    """A study of n sites: what they pinned, who they are, what they would send."""

    policy: Policy
    context: Context
    identities: dict[str, Identity]
    vectors: dict[str, Words]
    seed: str
    locks: dict[str, MemoryLocks] = field(default_factory=dict)
    notes: dict[str, MemoryNotes] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.policy.roster)

    def sites(
        self, absent: dict[str, frozenset[str]] | None = None, context: Context | None = None
    ) -> Sites:
        for name in self.names:
            self.locks.setdefault(name, MemoryLocks())
            self.notes.setdefault(name, MemoryNotes(note(name, 5), self.seen()))
        members = {
            n: Member(i, self.policy, self.locks[n], self.notes[n])
            for n, i in self.identities.items()
        }
        entropy = {n: Drbg(f"{self.seed}/{n}") for n in self.names}
        return Sites(members, self.vectors, entropy, context or self.context, absent or {})

    def seen(self) -> dict[str, bytes]:
        """Return what every site kept of every site in an earlier round."""
        return {name: note(name, 3) for name in self.names}

    def fork(self, sites: Sites) -> Sites:
        """Return the same sites as they stand now; what happens to one does not reach the other."""
        members = {
            name: replace(
                member, locks=copy.deepcopy(member.locks), notes=copy.deepcopy(member.notes)
            )
            for name, member in sites.members.items()
        }
        return replace(sites, members=members, states=dict(sites.states), gone=set(sites.gone))

    def play(self, exchange: Callable | None = None, context: Context | None = None) -> Outcome:
        context = context or self.context
        return play(self.policy, context, exchange or self.sites(context=context))

    def plain_sum(self, names: tuple[str, ...]) -> Words:
        total = np.zeros(self.policy.layouts[self.context.task].words, np.uint64)
        for name in names:
            total += self.vectors[name]
        return total

    def next_round(self, **changes: object) -> Context:
        return replace(self.context, round=self.context.round + 1, **changes)


def make_table(
    n: int,
    suite: str = "x25519",
    layout: Layout | None = None,
    seed: str = "table",
    steps: int = 1,
    min_sites: int = 3,
) -> Table:
    """Return a table of n sites whose vectors are uniform words."""
    names = [f"site-{i:02d}" for i in range(n)]
    identities = {
        name: Identity(name, hashlib.sha256(f"{seed}/{name}".encode()).digest()) for name in names
    }
    roster = Roster({name: one.public_key for name, one in identities.items()})
    layout = layout or layout_of(n, {"w": (20,)}, 1.0, exacts={"count": ()})
    policy = Policy(roster, {"train": layout, "evaluate": layout}, suite, min_sites)
    model = hashlib.sha256(b"model").digest()
    config = hashlib.sha256(b"config").digest()
    context = Context(policy.policy_id, "run-1", 1, 0, "train", config, model, steps)
    rng = np.random.default_rng(n)
    vectors = {name: rng.integers(0, 1 << 64, layout.words, np.uint64) for name in names}
    return Table(policy, context, identities, vectors, seed)


@pytest.fixture
def table() -> Callable[..., Table]:
    return make_table


@pytest.fixture(params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return request.param
