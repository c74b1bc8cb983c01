"""What both sides of the comparison share: five throw-away sites, one study, one victim."""

import csv
import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from client.balance import weights_by_site
from client.contribute import contribution
from client.folder import stamp
from client.session import Session, session
from client.train import to_batch, train_openly
from common.config import Modality, Model, SecureAggregation, Study, Training
from common.models.registry import build
from common.parameters import Arrays, to_arrays
from common.secagg.masks import Words
from common.secagg.roster import Context
from common.settings import to_yaml
from simulations.sites import prepare_federation

SITES = ("aspen", "birch", "cedar", "elder", "hazel")
VICTIM = "cedar"
OTHERS = tuple(site for site in SITES if site != VICTIM)
FEATURES, PERSONS, CLIPS = 6, 6, 8

STUDY = Study(
    name="attack",
    classes=("calm", "glad", "sad"),
    modalities={"features_voice": Modality(options={"dim": FEATURES})},
    device="cpu",
    model=Model(width=8, hidden=8),
    training=Training(
        num_server_rounds=4, local_epochs=10, learning_rate=0.5, batch_size=PERSONS * CLIPS
    ),
    secure_aggregation=SecureAggregation(update_norm=8.0, weight_cap=64),
)
"""All clips are one batch, so that training on the same model twice gives the same update."""


@dataclass(frozen=True)
class Scene:
    """Recordings and a study, laid out in an empty folder.

    Args:
        root: the folder.
    """

    root: Path

    @property
    def study_path(self) -> Path:
        """The study, as the coordinator names it."""
        return self.root / "study.yaml"

    @cached_property
    def model(self) -> Arrays:
        """The model that a round starts from."""
        return to_arrays(build(STUDY))

    @cached_property
    def dead_model(self) -> Arrays:
        """A model of the same shape on which only the last biases learn anything.

        Source: Pasquini, Francati and Ateniese, Eluding Secure Aggregation in Federated
        Learning via Model Inconsistency, CCS 2022.
        """
        dead = {"head.0.weight": 0.0, "head.0.bias": -8.0}
        return {
            name: np.full_like(v, dead[name]) if name in dead else v
            for name, v in self.model.items()
        }

    @cached_property
    def plain_sites(self) -> Path:
        """Sites that are only trained at, whoever masks what they train."""
        return self.federation("plain")

    def federation(self, name: str) -> Path:
        """Throw-away sites with fresh keys, ledgers and logs; noise and order from the seed."""
        folder = self.root / name
        prepare_federation(STUDY, self.root, folder, STUDY.seed)
        return folder

    def trained(self, site: str, model: Arrays) -> tuple[Arrays, int]:
        """What a site's plain training makes of a model, and its number of clips."""
        current = self.session(self.plain_sites / "sites" / site)
        data = current.load(model, current.train_data)
        batch = to_batch(data, weights_by_site(data.y_NC), current.device)
        train_openly(current.model, batch, current.study, torch.Generator().manual_seed(0))
        return to_arrays(current.model), len(data)

    def largest_value(self) -> float:
        """The largest absolute value of the victim's update."""
        after, _ = self.trained(VICTIM, self.model)
        return max(float(np.abs(after[name] - self.model[name]).max()) for name in after)

    def session(self, folder: Path) -> Session:
        """The session of the site whose folder this is."""
        return session(folder, str(self.study_path), (), stamp(folder))

    def truth(self, federation: Path, context: Context, model: Arrays) -> Words:
        """What the victim adds to a sum, from a twin of its folder taken before the attack."""
        return contribution(self.session(federation / "twin"), context, model)


def lay_scene(root: Path) -> Scene:
    """Write recordings and study into an empty folder."""
    for seed, site in enumerate(SITES):
        _write_manifest(root / "sites" / site / "manifest.csv", site, seed)
    scene = Scene(root)
    scene.study_path.write_text(to_yaml(STUDY), encoding="utf-8")
    return scene


def twin(federation: Path) -> None:
    """Copy the victim's folder, so that the truth can be computed without asking the victim."""
    shutil.copytree(federation / "sites" / VICTIM, federation / "twin")


def _write_manifest(path: Path, site: str, seed: int) -> None:
    """Clips whose class shows in their features, on top of each person's own offset."""
    rng, shared = np.random.default_rng(seed), np.random.default_rng(99)
    mean_CF = shared.normal(0, 1.5, (len(STUDY.classes), FEATURES))
    path.parent.mkdir(parents=True)
    with path.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(("sample_id", "person_id", "label", "features_voice"))
        for person in range(PERSONS):
            own_F = rng.normal(0, 0.5, FEATURES)
            for clip in range(CLIPS):
                c = int(rng.integers(len(STUDY.classes)))
                x_F = np.float32(mean_CF[c] + own_F + rng.normal(0, 0.7, FEATURES))
                names = f"{site}-{person}-{clip}", f"{site}-{person}"
                table.writerow((*names, STUDY.classes[c], json.dumps(x_F.tolist())))
