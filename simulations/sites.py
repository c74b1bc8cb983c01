"""Throw-away sites for a simulation: a folder, keys, policy and ledger for each."""

import re
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from client.data.encoders.naming import encoders_given
from client.data.manifest import read_manifest
from client.split import folds_of
from common.approval import Ethics
from common.config import SitePolicy, Study
from common.errors import ConfigError
from common.keys import new_identity, write_identity, write_roster
from common.rules import ANY, REST
from common.settings import to_yaml
from common.targets import targets_of

ROSTER = "roster.json"


@dataclass(frozen=True)
class Federation:
    """A prepared federation.

    Args:
        root: holds roster.json and one folder a site under sites/.
        sites: the sites' names, in the order of their node numbers.
    """

    root: Path
    sites: tuple[str, ...]


def prepare_federation(
    study: Study, data: Path, root: Path, reproducible_seed: int | None = None
) -> Federation:
    """Make one throw-away site for each folder of recordings.

    Args:
        study: what the sites shall allow.
        data: holds sites/NAME/manifest.csv (or .parquet) for each site.
        root: where the federation is written; must not hold one already.
        reproducible_seed: draws noise from a seed, so that a run can be repeated; such a run
            protects nobody. None draws it from the operating system.

    Raises:
        ConfigError: there are no manifests, too few sites, or a federation is there already.
    """
    manifests = find_manifests(data)
    if (root / ROSTER).exists():
        raise ConfigError(f"{root} already holds a federation; choose another folder.")
    fewest = study.secure_aggregation.min_sites
    if len(manifests) < fewest:
        raise ConfigError(f"{data} has {len(manifests)} sites; the study needs {fewest} or more.")
    policies = _policies(study, manifests)
    identities = {name: new_identity(name) for name in manifests}
    keys = {name: identity.public_key for name, identity in identities.items()}
    for name, policy in policies.items():
        folder = root / "sites" / name
        folder.mkdir(parents=True, mode=0o700)
        write_identity(folder / "identity.key", identities[name])
        write_roster(folder / ROSTER, keys)
        seeded = replace(policy, reproducible_seed=reproducible_seed)
        (folder / "policy.yaml").write_text(to_yaml(seeded))
    write_roster(root / ROSTER, keys)
    return Federation(root, tuple(manifests))


def _policies(study: Study, manifests: dict[str, Path]) -> dict[str, SitePolicy]:
    """A policy for each site; every manifest is read and checked before anything is written."""
    policies, offset = {}, 0
    for name, manifest in manifests.items():
        crowd = count_crowd(study, manifest, offset)
        policies[name] = replace(_policy(study, name, manifest, crowd), fold_offset=offset)
        offset += crowd.persons
    return policies


def find_manifests(data: Path) -> dict[str, Path]:
    """Site name -> manifest, sorted by name.

    Raises:
        ConfigError: there is none, or a folder's name cannot be a site's.
    """
    found = {
        path.parent.name: path.resolve()
        for pattern in ("manifest.parquet", "manifest.csv")
        for path in sorted(data.glob(f"sites/*/{pattern}"))
    }
    for name in found:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise ConfigError(
                f"{data}/sites/{name} cannot be a site's name: expected 1 to 64 letters, digits, "
                "'-' or '_'. Rename the folder."
            )
    if not found:
        raise ConfigError(
            f"{data} holds no recordings: expected {data}/sites/NAME/manifest.csv for each site. "
            "`tacit corpus` writes a synthetic corpus, `tacit data import` brings in a real one."
        )
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class Crowd:
    """What a site's manifest holds: a simulation declares it, a hospital rounds it.

    Args:
        persons: everyone.
        training_persons: those who train.
        training_records: their clips.
        modalities: the study's modalities that some clip has.
    """

    persons: int
    training_persons: int
    training_records: int
    modalities: tuple[str, ...]


def count_crowd(study: Study, manifest: Path, offset: int) -> Crowd:
    """Count who is in a manifest."""
    rows = read_manifest(
        manifest, study.classes, study.purpose, date.today(),
        modalities=tuple(study.modalities), scales=targets_of(study).scales,
    ).rows  # fmt: skip
    persons = tuple(sorted({row.person_id for row in rows}))
    training = {row.person_id for row in rows if row.split in ("train", "")}
    if study.split.folds:
        fold_P = folds_of(persons, study.split.folds, offset)
        training = {p for p, fold in zip(persons, fold_P, strict=True) if fold != study.split.fold}
    records = sum(row.person_id in training for row in rows)
    modalities = sorted({name for row in rows for name in row.sources})
    return Crowd(len(persons), len(training), records, tuple(modalities))


def _policy(study: Study, name: str, manifest: Path, crowd: Crowd) -> SitePolicy:
    """A policy that allows just this study."""
    privacy = study.privacy
    return SitePolicy(
        site=name,
        manifest=str(manifest),
        cache=str(manifest.parent / ".features"),
        studies=(study.name,),
        purposes=(study.purpose,),
        ethics=Ethics("a simulation needs none", "9999-12-31"),
        modalities=crowd.modalities,
        encoders=encoders_given(study),
        labels=study.classes,
        folds=study.split.folds,
        unit=privacy.unit,
        declared_persons=max(1, crowd.training_persons),
        declared_records=max(1, crowd.training_records),
        max_epsilon=privacy.target_epsilon if privacy.mode != "none" else 0.0,
        delta=privacy.target_delta,
        allow_without_privacy=privacy.mode == "none",
        min_sites=study.secure_aggregation.min_sites,
        min_persons=1,
        max_rounds=study.training.num_server_rounds,
        max_grad_norm=privacy.max_grad_norm,
        suite=study.secure_aggregation.suite,
        settings={REST: ANY},
    )
