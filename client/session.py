"""What a site keeps warm between the messages of one run: study, keys, model and recordings."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from client.data.arrays import SiteData
from client.data.load import load_site_data
from client.folder import SiteFolder, open_site
from client.locks import FileLocks
from client.split import split_rows
from client.train import device_of
from common.config import Study
from common.keys import read_identity, read_roster
from common.models.registry import build
from common.parameters import Arrays, load_arrays
from common.secagg.roster import Member
from common.settings import load_study
from common.standardise import split, standardise
from common.sums import policy_for


@dataclass(frozen=True)
class Session:
    """A site in a run; everything is read when it is first needed, and once.

    Args:
        site: the site's folder.
        study: the study that the coordinator asks for, resolved and checked.
    """

    site: SiteFolder
    study: Study

    @cached_property
    def member(self) -> Member:
        """The site as the secure sum sees it."""
        roster = read_roster(self.site.roster)
        identity = read_identity(self.site.identity, self.site.name)
        return Member(identity, policy_for(self.study, roster), FileLocks(self.site.locks))

    @cached_property
    def device(self) -> torch.device:
        """Where the site trains."""
        return device_of(self.study.device)

    @cached_property
    def train_data(self) -> SiteData:
        """Clips of persons who train."""
        return self._data.take(self._rows[0])

    @cached_property
    def evaluation_data(self) -> SiteData:
        """Clips of persons kept for evaluation."""
        return self._data.take(self._rows[1])

    @cached_property
    def model(self) -> torch.nn.Module:
        """The study's model on the site's device; `load` fills in what the coordinator sent."""
        return build(self.study).to(self.device)

    def load(self, arrays: Arrays, data: SiteData) -> SiteData:
        """Put the coordinator's tensors into the model; returns the data as that model reads it.

        Raises:
            ProtocolError: the tensors are not the model's.
        """
        weights, statistics = split(arrays)
        load_arrays(self.model, weights)
        present = presence(data)
        return replace(data, x=standardise(data.x, present, statistics))

    @cached_property
    def _data(self) -> SiteData:
        return load_site_data(self.study, self.site.manifest, self.site.cache)

    @cached_property
    def _rows(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return split_rows(self._data, self.study.split, self.site.policy.fold_offset)


def presence(data: SiteData) -> dict[str, NDArray[np.bool_]]:
    """Modality -> which clips have it."""
    return {name: data.present_NM[:, column] for column, name in enumerate(sorted(data.x))}


@lru_cache(maxsize=128)
def session(root: Path, study_path: str, overrides: tuple[str, ...]) -> Session:
    """The session of a site in a run; kept for the life of the process.

    Raises:
        ConfigError: the folder is not a site's, or the study does not fit.
    """
    return Session(open_site(root), load_study(study_path, overrides))
