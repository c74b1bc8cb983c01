"""Who may take part, under which rules, and in which attempt: what a site pins and signs over."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Protocol

from common.errors import ConfigError
from common.secagg.channel import Identity, Suite, suite, verify
from common.secagg.codec import HASH, MOST_NAME_BYTES, NAME, U16, U32, blob, struct, text
from common.secagg.derive import digest
from common.secagg.graph import Graph, complete, majority, regular
from common.secagg.layout import Layout

COMPLETE_SITES = 128


class Roster(Mapping[str, bytes]):
    """The sites of a study: {site name: Ed25519 public key}, pinned at every site.

    Args:
        keys: public keys of 32 bytes by site name; names of 1 to 64 bytes.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        for name, key in keys.items():
            if not 1 <= len(name.encode()) <= MOST_NAME_BYTES or len(key) != 32:
                raise ConfigError(f"roster: {name!r} needs a name of 1-64 bytes, a key of 32")
        if len(set(keys.values())) != len(keys):
            raise ConfigError("roster: two sites have the same key")
        self._keys = MappingProxyType(dict(sorted(keys.items())))
        self._x = {name: i + 1 for i, name in enumerate(self._keys)}

    def __getitem__(self, name: str) -> bytes:
        return self._keys[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def x(self, name: str) -> int:
        """Return where a site's Shamir shares are evaluated: its place in the roster, from 1."""
        return self._x[name]

    @cached_property
    def digest(self) -> bytes:
        """The hash of all names and keys."""
        parts: list[bytes | str | int] = []
        for name, key in self._keys.items():
            parts += [name, key]
        return digest("roster", *parts)

    def signed(self, name: str, signature: bytes, purpose: str, *parts: bytes | str | int) -> bool:
        """Return whether the site of that name signed these parts for this purpose."""
        known = name in self._keys and len(signature) == 64
        return known and verify(self._keys[name], signature, purpose, *parts)


@dataclass(frozen=True)
class Policy:
    """The rules of a study's sums, pinned and hashed at each site.

    Args:
        roster: who may take part.
        layouts: {task: what is summed}; e.g. tasks "train", "evaluate", "statistics".
        suite: name of the encryption suite, see channel.SUITES.
        min_sites: fewest sites in a sum, at least 3.
        clip_norm: largest L2 norm of a site's update.
        dp_floor: the least privacy that sites accept, as the study words it.
    """

    roster: Roster
    layouts: Mapping[str, Layout]
    suite: str = "x25519"
    min_sites: int = 3
    clip_norm: float = 0.0
    dp_floor: str = "none"

    def __post_init__(self) -> None:
        suite(self.suite)
        if not 3 <= self.min_sites <= len(self.roster):
            raise ConfigError(
                f"min_sites must be 3 to the {len(self.roster)} of the roster, got {self.min_sites}"
            )
        for task, layout in self.layouts.items():
            if layout.sites < len(self.roster):
                raise ConfigError(f"the layout of {task!r} is for fewer sites than the roster")

    @cached_property
    def policy_id(self) -> bytes:
        """The hash that every context binds."""
        parts: list[bytes | str | int] = [self.roster.digest, self.suite, self.min_sites]
        parts += [float(self.clip_norm).hex(), self.dp_floor, self.graph.rule]
        for task in sorted(self.layouts):
            parts += [task, self.layouts[task].digest]
        return digest("policy", *parts)

    @cached_property
    def keys(self) -> Suite:
        """The suite itself."""
        return suite(self.suite)

    def quorum(self, cohort_size: int) -> int:
        """Return the fewest sites that may remain: max(floor(2n/3) + 1, min_sites)."""
        return max(majority(cohort_size), self.min_sites)

    @cached_property
    def graph(self) -> Graph:
        """Who deals shares to whom: everyone up to 128 sites, k neighbours beyond."""
        names = tuple(self.roster)
        if len(names) <= COMPLETE_SITES:
            return complete(names)
        return regular(names, self.roster.digest)


@dataclass(frozen=True)
class Context:
    """What one attempt is about; every signature and key binds its digest.

    Args:
        policy_id: hash of the policy that all sites must have pinned.
        run: name of the run.
        round: number of the (first) round that is keyed.
        attempt: number of the attempt at this round, from 0.
        task: which layout of the policy, e.g. "train".
        config_hash: 32-byte hash of the configuration.
        model_hash: 32-byte hash of the model; b"" when keys are made before it is known,
            it then comes with the MASK request.
        steps: how many rounds are keyed at once: `round`, `round` + 1, …
    """

    policy_id: bytes
    run: str
    round: int
    attempt: int
    task: str
    config_hash: bytes
    model_hash: bytes = b""
    steps: int = 1

    @cached_property
    def keying(self) -> bytes:
        """The hash that ADVERTISE and SHARE bind."""
        return digest("keying", CONTEXT.dump(self))

    def digest(self, step: int = 0, model_hash: bytes = b"") -> bytes:
        """Return the hash that MASK, CONFIRM and UNMASK of one keyed step bind.

        Args:
            step: which of the keyed rounds, from 0.
            model_hash: of the model used in it; by default the one in the context.
        """
        return digest("ctx", self.keying, step, model_hash or self.model_hash)

    def retry(self) -> "Context":
        """Return the context of the next attempt."""
        return replace(self, attempt=self.attempt + 1)


CONTEXT = struct(Context, HASH, text(256), U32, U32, NAME, HASH, blob(32), U16)


class Locks(Protocol):
    """What a site remembers for ever; each call is durable before it returns."""

    def locked(self, key: bytes) -> bool:
        """Return whether this 32-byte key was ever locked."""

    def lock(self, key: bytes) -> bool:
        """Lock a key; False when it was locked before. Atomic between processes."""

    def newest(self, series: str) -> tuple[int, int]:
        """Return the newest (round, attempt) begun in a series; (-1, -1) when none was."""

    def begin(self, series: str, round_: int, attempt: int) -> None:
        """Record (round, attempt) as the newest of the series."""


class Notes(Protocol):
    """What a site publishes with its keys, and what it keeps of its peers' notes.

    The protocol carries notes, signs them with the keys, and hashes them into R0: so whoever
    shares has signed that it saw them. What they mean is the caller's.
    """

    def mine(self) -> bytes | None:
        """Return what this site publishes now."""

    def kept(self) -> Mapping[str, bytes]:
        """Return the newest note of each peer that this site kept."""

    def follows(self, before: bytes | None, after: bytes | None) -> str:
        """Return why `after` cannot follow `before`; empty where it can."""

    def keep(self, notes: Mapping[str, bytes]) -> None:
        """Keep what is newer than what was kept; durable before it returns."""


class NoNotes:
    """Notes of a site that publishes nothing and asks for nothing."""

    def mine(self) -> bytes | None:
        """Return nothing."""
        return None

    def kept(self) -> Mapping[str, bytes]:
        """Return nothing."""
        return {}

    def follows(self, before: bytes | None, after: bytes | None) -> str:
        """Let everything pass."""
        del before, after
        return ""

    def keep(self, notes: Mapping[str, bytes]) -> None:
        """Keep nothing."""


@dataclass(frozen=True)
class Member:
    """One site as the protocol sees it: who it is, what it pinned, remembers and publishes."""

    identity: Identity
    policy: Policy
    locks: Locks = field(repr=False)
    notes: Notes = field(default_factory=NoNotes, repr=False)

    @property
    def name(self) -> str:
        """The site's name in the roster."""
        return self.identity.name


class MemoryLocks:
    """Locks of a site that lives as long as its process: for simulations and tests."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()
        self._newest: dict[str, tuple[int, int]] = {}

    def locked(self, key: bytes) -> bool:
        """Return whether this key was ever locked."""
        return key in self._keys

    def lock(self, key: bytes) -> bool:
        """Lock a key; False when it was locked before."""
        before = key in self._keys
        self._keys.add(key)
        return not before

    def newest(self, series: str) -> tuple[int, int]:
        """Return the newest (round, attempt) begun in a series."""
        return self._newest.get(series, (-1, -1))

    def begin(self, series: str, round_: int, attempt: int) -> None:
        """Record (round, attempt) as the newest of the series."""
        self._newest[series] = (round_, attempt)
