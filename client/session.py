"""What a site keeps warm between the messages of one run: study, keys, model and recordings."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from client.budget.verifying import heads_of
from client.data.arrays import SiteData
from client.data.load import load_site_data
from client.folder import SiteFolder, log, open_site
from client.heads import LedgerNotes
from client.locks import FileLocks
from client.missing import with_missing
from client.policy import gate_settings, gate_study
from client.precision import Arithmetic, arithmetic_on, is_left_out
from client.split import split_rows
from client.train import device_of
from common.budget import resolved
from common.config import Study
from common.keys import read_identity, read_roster
from common.models.registry import build
from common.parameters import Arrays, load_arrays
from common.privacy.ledger import Ledger
from common.secagg.roster import Member, Roster
from common.settings import load_study
from common.standardise import check_statistics, split, standardise
from common.sums import counts_shape, parameters_of, policy_for, statistics_shapes


@dataclass(frozen=True)
class Session:
    """A site in a run; everything is read when it is first needed, and once.

    Args:
        site: the site's folder.
        study: the study that the coordinator asks for, resolved and checked.
        roster: the sites that this site has pinned.
        manifest_read: the manifest's stamp when the session was opened.
    """

    site: SiteFolder
    study: Study
    roster: Roster
    manifest_read: tuple[int, int]

    def is_current(self) -> bool:
        """Whether the manifest is still the one that this session was opened with."""
        return manifest_stamp(self.site.manifest) == self.manifest_read

    @cached_property
    def member(self) -> Member:
        """The site as the secure sum sees it."""
        identity = read_identity(self.site.identity, self.site.name)
        notes = LedgerNotes(self.site.heads, self.site.name, lambda: self.ledger)
        policy = policy_for(self.study, self.roster)
        return Member(identity, policy, FileLocks(self.site.locks), notes)

    @cached_property
    def ledger(self) -> Ledger:
        """The site's account of privacy spent, verified when it is opened.

        Raises:
            LedgerError: it is damaged, or does not hold a head that the site's folder keeps.
        """
        ledger = Ledger.open(self.site.ledger, site=self.site.name)
        try:
            for kept in heads_of(self.site, None):
                ledger.require(kept.head)
        except BaseException:
            ledger.close()
            raise
        return ledger

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the manifest, so that a change of data shows in the ledger."""
        return hashlib.sha256(self.site.manifest.read_bytes()).hexdigest()

    @cached_property
    def device(self) -> torch.device:
        """Where the site trains."""
        return device_of(self.study.device)

    @cached_property
    def arithmetic(self) -> Arithmetic:
        """How the site's device computes; the site's log says so where the study asks for more."""
        training = self.study.training
        if is_left_out(training, self.device):
            asked = f"precision={training.precision}, compile={str(training.compile).lower()}"
            log(self.site.root, "trains in single precision", device=str(self.device), asked=asked)
        return arithmetic_on(training, self.device)

    @cached_property
    def parameters(self) -> int:
        """How many values of the study's model are trained."""
        return parameters_of(self.study)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of the study that this site says it has."""
        return self.site.policy.modalities or tuple(self.study.modalities)

    @property
    def declared_units(self) -> int:
        """The public number of units that a DP step is scaled by."""
        policy = self.site.policy
        by_person = self.study.privacy.unit == "person"
        return policy.declared_persons if by_person else policy.declared_records

    @cached_property
    def train_data(self) -> SiteData:
        """Clips of persons who train."""
        return with_missing(self._data.take(self._rows[0]), self.study.missing)

    @cached_property
    def evaluation_data(self) -> SiteData:
        """Clips of persons kept for evaluation."""
        kept, missing = self._data.take(self._rows[1]), self.study.missing
        return with_missing(kept, missing) if missing.evaluation else kept

    @cached_property
    def model(self) -> torch.nn.Module:
        """The study's model on the site's device; `load` fills in what the coordinator sent."""
        return build(self.study).to(self.device)

    def accept(self, arrays: Arrays) -> None:
        """Put the coordinator's tensors into the model, if they are exactly the model's.

        Raises:
            ProtocolError: they are not; nothing was charged and no data was read.
        """
        weights, statistics = split(arrays)
        check_statistics(statistics, statistics_shapes(self.study), counts_shape(self.study))
        load_arrays(self.model, weights)

    def load(self, arrays: Arrays, data: SiteData) -> SiteData:
        """Put the coordinator's tensors into the model; returns the data as that model reads it.

        Raises:
            ProtocolError: the tensors are not the model's.
        """
        self.accept(arrays)
        _, statistics = split(arrays)
        return replace(data, x=standardise(data.x, presence(data), statistics))

    @cached_property
    def _data(self) -> SiteData:
        scopes = self.site.policy.consent_scopes.get(self.study.purpose)
        data = load_site_data(
            self.study,
            self.site.manifest,
            self.site.cache,
            scopes=scopes,
            encoders=self.site.encoders,
            device=self.device,
            reads=self.modalities,
        )
        hidden = [name for name in sorted(data.x) if name not in self.modalities]
        return without(data, hidden)

    @cached_property
    def _rows(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return split_rows(self._data, self.study.split, self.site.policy.fold_offset)


def manifest_stamp(path: Path) -> tuple[int, int]:
    """When a manifest was last changed, and its size; zeros where there is none."""
    if not path.exists():
        return 0, 0
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def without(data: SiteData, modalities: list[str]) -> SiteData:
    """The same clips with some modalities taken away."""
    columns = [sorted(data.x).index(name) for name in modalities]
    present_NM = data.present_NM.copy()
    present_NM[:, columns] = False
    cleared = {name: np.zeros_like(data.x[name]) for name in modalities}
    return replace(data, x={**data.x, **cleared}, present_NM=present_NM)


def presence(data: SiteData) -> dict[str, NDArray[np.bool_]]:
    """Modality -> which clips have it."""
    return {name: data.present_NM[:, column] for column, name in enumerate(sorted(data.x))}


Key = tuple[str, tuple[str, ...], tuple[int, ...]]
"""What a session follows from: study, settings, and the stamp of what they are held to."""


class Sessions:
    """The last sessions of each site in this process; what is older is let go with its data."""

    KEPT = 4

    def __init__(self) -> None:
        """Keep none yet."""
        self._kept: dict[Path, OrderedDict[Key, Session]] = {}

    def __call__(
        self, root: Path, study_path: str, overrides: tuple[str, ...], stamp: tuple[int, ...]
    ) -> Session:
        """The session of a site in a run.

        Args:
            root: the site's folder.
            study_path: a study's name or path.
            overrides: key=value pairs on top of it.
            stamp: of policy, roster and day: another one makes another session, and those of the
                former are let go.

        Raises:
            ConfigError: the folder is not a site's, or the study does not fit.
            PolicyRefused: the study or an override is not within what the site allows.
        """
        kept, key = self._kept.setdefault(root, OrderedDict()), (study_path, overrides, stamp)
        if key not in kept:
            opened = _opened(root, study_path, overrides)
            for old in [old for old in kept if old[2] != stamp]:
                del kept[old]
            kept[key] = opened
        kept.move_to_end(key)
        while len(kept) > self.KEPT:
            kept.popitem(last=False)
        return kept[key]

    def cache_clear(self) -> None:
        """Let go of every session."""
        self._kept.clear()


session = Sessions()


def _opened(root: Path, study_path: str, overrides: tuple[str, ...]) -> Session:
    site, asked = open_site(root), load_study(study_path, overrides, root / "studies")
    roster = read_roster(site.roster)
    gate_settings(site.policy, overrides, asked)
    gate_study(site.policy, asked, date.today())
    study = resolved(asked, len(roster), parameters_of(asked))
    return Session(site, study, roster, manifest_stamp(site.manifest))
