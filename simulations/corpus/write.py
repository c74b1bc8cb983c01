"""The corpus as a folder: a manifest per site, its media beside it, and what is known of it."""

import csv
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError
from simulations.corpus import latent, raters
from simulations.corpus.plan import Person, Site, plan_clips, plan_sites
from simulations.corpus.render import draw_character, render

VERSION = 3
"""Raised whenever the same settings give other files."""
COLUMNS = ("sample_id", "person_id", *latent.MODALITIES, "label", "split", "group_sex", "group_age")


@dataclass(frozen=True)
class CorpusSettings:
    """What a corpus is made from; equal settings give equal bytes.

    With raters the manifests hold their votes, their places on dimensions, and labels that may
    hold together; without, the label alone.
    """

    seed: int
    sites: int
    persons_per_site: int
    clips_per_person: int
    version: int = VERSION
    raters: int = 0


@dataclass(frozen=True)
class SiteReport:
    """What one site holds: persons and clips by split, and the modalities that it records."""

    name: str
    modalities: tuple[str, ...]
    persons: dict[str, int]
    clips: dict[str, int]


@dataclass(frozen=True)
class CorpusReport:
    """What is known of a corpus.

    Args:
        settings: what it was made from.
        classes: its labels.
        sites: what each site holds.
        chance: UAR of guessing.
        ceiling_uar: expected UAR, over the test clips, of an observer who reads the cues from
            which the recordings were drawn; no model of the recordings can expect more.
        ceiling_alone: the same, modality by modality, over the clips that have it.
        label_agreement: share of clips whose label is what is expressed.
    """

    settings: CorpusSettings
    classes: tuple[str, ...]
    sites: tuple[SiteReport, ...]
    chance: float
    ceiling_uar: float
    ceiling_alone: dict[str, float]
    label_agreement: float

    @property
    def clips(self) -> int:
        """How many clips there are."""
        return sum(sum(site.clips.values()) for site in self.sites)


Row = dict[str, str]


def write_corpus(
    out: Path,
    seed: int = 0,
    sites: int = 6,
    persons_per_site: int = 40,
    clips_per_person: int = 5,
    raters_per_clip: int = 0,
) -> CorpusReport:
    """Write a synthetic corpus to `out/sites/NAME/manifest.csv` and `out/corpus.json`.

    Guarantees: equal settings give equal bytes; `out` appears whole or not at all; an equal
    corpus that is there already is left as it is, and one by an older version is replaced.

    Args:
        out: a folder that does not exist, or holds a corpus of these settings.
        seed: where all randomness starts.
        sites: number of sites, at least 1.
        persons_per_site: persons at a site on average, at least 4.
        clips_per_person: clips of each person, at least 1.
        raters_per_clip: who vote and rate; 0 writes no ratings.

    Raises:
        ConfigError: if a number is too small, or `out` holds anything else.
    """
    numbers = seed, sites, persons_per_site, clips_per_person
    settings = CorpusSettings(*numbers, raters=raters_per_clip)
    _check(settings)
    if out.exists():
        known = read_corpus(out)
        if known.settings == settings:
            return known
        _check_outdated(out, known.settings, settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        report = _write(partial, settings)
        partial.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return report


def read_corpus(out: Path) -> CorpusReport:
    """Read back what `write_corpus` told.

    Raises:
        ConfigError: if the folder holds no corpus.
    """
    path = out / "corpus.json"
    try:
        told = json.loads(path.read_text())
        told["settings"] = CorpusSettings(**told["settings"])
        told["sites"] = tuple(
            SiteReport(**{**site, "modalities": tuple(site["modalities"])})
            for site in told["sites"]
        )
        return CorpusReport(**{**told, "classes": tuple(told["classes"])})
    except OSError:
        raise ConfigError(
            f"{out} was not written by `tacit corpus`: there is no {path.name} in it that can be "
            "read. Nothing was changed; name another folder"
        ) from None
    except (ValueError, TypeError, KeyError):
        raise ConfigError(
            f"{path} does not describe a corpus as this version writes it. Nothing was changed; "
            "name another folder"
        ) from None


def _check(settings: CorpusSettings) -> None:
    least = {"seed": 0, "sites": 1, "persons_per_site": 4, "clips_per_person": 1, "raters": 0}
    for name, number in least.items():
        if getattr(settings, name) < number:
            raise ConfigError(
                f"corpus: {name} of at least {number} expected, found {getattr(settings, name)}"
            )


def _check_outdated(out: Path, known: CorpusSettings, settings: CorpusSettings) -> None:
    if replace(known, version=settings.version) != settings:
        raise ConfigError(
            f"{out}: expected a corpus made from {settings}, found one from {known}; "
            "remove the folder, or name another one"
        )


def _write(out: Path, settings: CorpusSettings) -> CorpusReport:
    planned = plan_sites(settings.seed, settings.sites, settings.persons_per_site)
    rows = {site.name: _write_site(out, site, settings) for site in planned}
    tested = [row for site in rows.values() for row in site if row["split"] == "test"]
    present_NM = np.array([[row[m] != "" for m in latent.MODALITIES] for row in tested])
    report = CorpusReport(
        settings=settings,
        classes=latent.CLASSES,
        sites=tuple(_count(site, rows[site.name]) for site in planned),
        chance=1 / len(latent.CLASSES),
        ceiling_uar=_ceiling(settings.seed, present_NM),
        ceiling_alone={
            name: _ceiling(settings.seed, latent.alone(name, present_NM))
            for column, name in enumerate(latent.MODALITIES)
            if present_NM[:, column].any()
        },
        label_agreement=1 - latent.DISAGREEMENT,
    )
    told = asdict(report)
    if not settings.raters:
        del told["settings"]["raters"]
    (out / "corpus.json").write_text(json.dumps(told, indent=2) + "\n")
    return report


def _ceiling(seed: int, present_NM: NDArray[np.bool_]) -> float:
    return round(latent.ceiling_uar(np.random.default_rng((seed, 1 << 20)), present_NM), 4)


def _write_site(out: Path, site: Site, settings: CorpusSettings) -> list[Row]:
    folder = out / "sites" / site.name
    for name in set(site.modalities) - {"text"}:
        (folder / name).mkdir(parents=True)
    rows = [row for p in site.persons for row in _write_person(folder, site, p, settings)]
    columns = (*COLUMNS, *raters.COLUMNS) if settings.raters else COLUMNS
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return rows


def _write_person(
    folder: Path, site: Site, person: Person, settings: CorpusSettings
) -> Iterator[Row]:
    character = draw_character(person)
    for clip in plan_clips(site, person, settings.clips_per_person):
        said = raters.rate(clip.cues, settings.raters, (*clip.seed, 4)) if settings.raters else {}
        yield {
            "sample_id": clip.sample_id,
            "person_id": person.person_id,
            **render(folder, character, clip),
            "label": latent.CLASSES[clip.label],
            "split": person.split,
            "group_sex": person.sex,
            "group_age": person.age,
            **said,
        }


def _count(site: Site, rows: list[Row]) -> SiteReport:
    splits = ("train", "test")
    return SiteReport(
        name=site.name,
        modalities=site.modalities,
        persons={s: sum(person.split == s for person in site.persons) for s in splits},
        clips={s: sum(row["split"] == s for row in rows) for s in splits},
    )
