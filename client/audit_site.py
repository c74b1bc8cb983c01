"""Throw-away sites whose releases an audit looks at: real sessions, ledgers, keys; no recordings.

A step goes the way of every step: charge, sample, clip, noise, encode. Then the vector is decoded
as the coordinator would decode the sum of just these sites.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from client.contribute import contribution
from client.data.arrays import SiteData
from client.folder import SiteFolder
from client.session import Session
from common.budget import grid_of, honest_sites
from common.config import SitePolicy, Study
from common.errors import DataError, PrivacyError, ProtocolError
from common.keys import new_identity, write_identity
from common.parameters import model_hash, to_arrays
from common.privacy.events import DiscreteGaussianShare, PoissonSampledGaussian, from_dict
from common.privacy.ledger import Ledger
from common.secagg import coordinator, ring
from common.secagg.masks import Words
from common.secagg.messages import Upload, decode
from common.secagg.roster import Context, Roster
from common.secagg.round import Sites, key
from common.settings import config_hash
from common.sums import parameters_of, trained_shapes

NAMES = ("audited", "second", "third", "fourth")
UNITS = 1000
"""What each site declares: as many as δ = 10⁻³ allows."""
MOST_ROUNDS = 100_000
WEIGHT_CAP = 1024
ROOM = 16.0
"""A step's update may be so many times longer than expected before it is cut."""
EXPECTED_NORM = 16.0
"""Units whose clipped gradients a step's update has room for, beside its noise."""
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a throw-away ledger needs no disk

PrivateEvent = PoissonSampledGaussian | DiscreteGaussianShare
Vector = NDArray[np.float32]


@dataclass
class Presence:
    """Who is at a site just now."""

    data: SiteData


@dataclass(frozen=True)
class AuditedSession(Session):
    """A site's session whose recordings are replaced by who is present."""

    presence: Presence

    @property
    def train_data(self) -> SiteData:
        """Clips of who is present."""
        return self.presence.data


@dataclass
class AuditedSites:
    """Sites of one study; all but the first have nobody.

    Args:
        study: one DP step a round; resolved.
        sessions: by site; they last over all rounds, as in a run.
        present: who is at the first site.
        round: how many rounds were played.
    """

    study: Study
    sessions: dict[str, AuditedSession]
    present: Presence
    round: int = 0

    def __post_init__(self) -> None:
        self._model = to_arrays(self.first.model)
        self._hash = model_hash(self._model)
        self._config = config_hash(self.study)
        self._layout = self.first.member.policy.layouts["train"]
        self._names = tuple(trained_shapes(self.study))
        self._to_norm = self._grid_unit() if self.study.privacy.mode == "distributed" else 0.0

    @property
    def first(self) -> AuditedSession:
        """The audited site."""
        return self.sessions[NAMES[0]]

    def step(self, data: SiteData) -> Vector:
        """Play one DP step of the first site and return the noised sum of clipped gradients.

        Where noise is shared, the honest sites' contributions are added up.
        """
        self.present.data = data
        shared = self.study.privacy.mode == "distributed"
        names = NAMES[: honest_sites(len(NAMES)) if shared else 1]
        context = self._context()
        words = [contribution(self.sessions[name], context, self._model) for name in names]
        return self._read(reduce(np.add, words), len(names))

    def charged(self) -> tuple[PrivateEvent, float]:
        """Return what the newest training step was charged as, and its clipping norm.

        Raises:
            PrivacyError: there is no such charge, or it says that nothing private was released.
        """
        with self.opened_ledger() as ledger:
            bodies = [entry.body for entry in ledger.entries() if entry.kind == "reserve"]
        event = from_dict(bodies[-1]["event"]) if bodies else None
        if not isinstance(event, PrivateEvent):
            raise PrivacyError("audit: a step was released that the ledger does not know as one")
        return event, float(bodies[-1]["max_grad_norm"])

    @contextmanager
    def opened_ledger(self) -> Iterator[Ledger]:
        """Open the first site's ledger anew, as a restarted site would."""
        with Ledger.open(self.first.site.ledger, site=self.first.site.name) as ledger:
            yield ledger

    def uploads(self) -> dict[str, Words]:
        """Play a secret sum over a model of its own, and return what each site sends to it."""
        model = {name: value + 1e-6 * self.round for name, value in self._model.items()}
        context = replace(self._context(), model_hash=model_hash(model))
        vectors = {name: contribution(one, context, model) for name, one in self.sessions.items()}
        members = {name: one.member for name, one in self.sessions.items()}
        entropy = dict.fromkeys(members, os.urandom)
        everybody = Sites(members, vectors, entropy, context)
        keyed = key(self.first.member.policy, context, everybody)
        _, requests = coordinator.masking(keyed, 0, context.model_hash)
        replies = everybody("mask", requests)
        return {name: _words_of(name, reply) for name, reply in replies.items()}

    def is_readable(self, words_W: Words) -> bool:
        """Whether words hold what could be a site's own vector, as it is before it is masked."""
        try:
            found = ring.decode(self._layout, words_W[: self._layout.words], 1)
        except (ProtocolError, DataError):
            return False
        caps = {lane.name: lane.cap for lane in self._layout.exacts}
        return all(int(np.abs(v).max(initial=0)) <= caps[n] for n, v in found.exacts.items())

    def _context(self) -> Context:
        self.round += 1
        policy = self.first.member.policy.policy_id
        return Context(policy, "audit", self.round, 0, "train", self._config, self._hash)

    def _read(self, words_W: Words, sites: int) -> Vector:
        found, privacy = ring.decode(self._layout, words_W, sites), self.study.privacy
        if privacy.mode == "distributed":
            parts = {n: v * self._to_norm for n, v in found.exacts.items()} | found.sums
        else:
            rate = self.study.training.learning_rate
            scale = -privacy.sampling_rate * UNITS / rate
            means = {real.name: found.mean(real.name) for real in self._layout.reals}
            parts = {n: 0 * found.sums[n] if v is None else v * scale for n, v in means.items()}
        flat = [np.ravel(parts[name]) for name in self._names]
        return np.concatenate(flat).astype(np.float32)

    def _grid_unit(self) -> float:
        grid = grid_of(self.study, len(NAMES), parameters_of(self.study))
        return self.study.privacy.max_grad_norm / grid.clip_units


@contextmanager
def audited_sites(study: Study, nobody: SiteData) -> Iterator[AuditedSites]:
    """Make sites for a study in a folder that is removed afterwards.

    Args:
        study: resolved, of one DP step a round.
        nobody: no clips, in the study's shapes.
    """
    where = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    with TemporaryDirectory(prefix="tacit-audit-", dir=where) as root:
        identities = {name: new_identity(name) for name in NAMES}
        roster = Roster({name: one.public_key for name, one in identities.items()})
        present, sessions = Presence(nobody), {}
        for name, identity in identities.items():
            folder = Path(root) / name
            folder.mkdir(mode=0o700)
            write_identity(folder / "identity.key", identity)
            (folder / "manifest.csv").write_text("sample_id,person_id,label\n")
            site = SiteFolder(folder, _policy(study, name))
            there = present if name == NAMES[0] else Presence(nobody)
            sessions[name] = AuditedSession(site, study, roster, (0, 0), there)
        try:
            yield AuditedSites(study, sessions, present)
        finally:
            for session in sessions.values():
                session.ledger.close()


def audited_study(
    study: Study, *, sampling_rate: float, noise_multiplier: float, max_grad_norm: float
) -> Study:
    """Return a study as it is audited: its model, unit, mode and suite, one DP step a round.

    What only moves the model once a step is noised (optimizer, rate, number of rounds) is set so
    that the step can be read back. Dropout is off, so that a canary pulls one way in each step.
    No cap stops it: nobody's data is behind it.
    """
    privacy = replace(
        study.privacy,
        target_epsilon=math.inf,
        target_delta=min(study.privacy.target_delta, 1 / UNITS),
        sampling_rate=sampling_rate,
        noise_multiplier=noise_multiplier,
        max_grad_norm=max_grad_norm,
    )
    secure = replace(study.secure_aggregation, min_sites=3, weight_cap=WEIGHT_CAP)
    length = max_grad_norm * (noise_multiplier * math.sqrt(parameters_of(study)) + EXPECTED_NORM)
    training = replace(
        study.training,
        num_server_rounds=MOST_ROUNDS,
        local_steps=1,
        optimizer="sgd",
        learning_rate=secure.update_norm / ROOM * sampling_rate * UNITS / length,
        momentum=0.0,
        weight_decay=0.0,
    )
    model = replace(study.model, dropout=0.0, modality_dropout=0.0)
    changed = {"privacy": privacy, "secure_aggregation": secure, "training": training}
    return replace(study, model=model, normalise="none", **changed)  # type: ignore[arg-type]


def _policy(study: Study, name: str) -> SitePolicy:
    return SitePolicy(
        site=name,
        purposes=(study.purpose,),
        folds=study.split.folds,
        unit=study.privacy.unit,
        declared_persons=UNITS,
        declared_records=UNITS,
        max_epsilon=math.inf,
        delta=study.privacy.target_delta,
        max_rounds=MOST_ROUNDS,
        max_grad_norm=study.privacy.max_grad_norm,
    )


def _words_of(site: str, reply: bytes) -> Words:
    return np.frombuffer(decode(Upload, reply, site).vector, dtype="<u8").astype(np.uint64)
