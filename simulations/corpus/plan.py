"""Who is recorded where: sites of uneven size, persons, their clips and what each clip lacks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulations.corpus import latent

SITE_NAMES = (
    "aspen",
    "birch",
    "cedar",
    "elm",
    "juniper",
    "larch",
    "maple",
    "oak",
    "rowan",
    "willow",
)
EVERY_WITHOUT_VIDEO = 3
"""Every third site has no camera."""
CLIPS_WITHOUT_TEXT = 0.15
TEST_PERSONS = 0.3
AGES = ("18-34", "35-54", "55+")


@dataclass(frozen=True)
class Person:
    """One recorded person.

    Args:
        person_id: unique over all sites.
        split: "train" or "test"; all clips of a person are in one.
        sex: "female" or "male".
        age: one of AGES.
        seed: where the person's own randomness starts.
    """

    person_id: str
    split: str
    sex: str
    age: str
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Clip:
    """One clip before it is rendered.

    Args:
        sample_id: unique over all sites.
        label: index into latent.CLASSES.
        modalities: what is recorded.
        cues: what each modality expresses.
        seed: where the clip's own randomness starts.
    """

    sample_id: str
    label: int
    modalities: tuple[str, ...]
    cues: latent.Cues
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Site:
    """One site: its name, what it can record, and its persons."""

    name: str
    modalities: tuple[str, ...]
    persons: tuple[Person, ...]


def plan_sites(seed: int, sites: int, persons_per_site: int) -> tuple[Site, ...]:
    """Plan the sites; the largest has about three times the persons of the smallest."""
    share_S = np.linspace(1.5, 0.5, sites) if sites > 1 else np.ones(1)
    return tuple(
        _site(seed, index, max(2, round(persons_per_site * share)))
        for index, share in enumerate(share_S)
    )


def plan_clips(site: Site, person: Person, clips: int) -> Iterator[Clip]:
    """Plan one person's clips, each with its own randomness."""
    labels = latent.labels_for(np.random.default_rng((*person.seed, 1)), clips)
    for index, label in enumerate(labels):
        seed = (*person.seed, 2, index)
        rng = np.random.default_rng(seed)
        cues_ND = latent.draw_cues(rng, latent.expressed(rng, np.array([label])))
        cues = {name: cue_ND[0] for name, cue_ND in cues_ND.items()}
        hidden = {"text"} if rng.random() < CLIPS_WITHOUT_TEXT else set()
        modalities = tuple(name for name in site.modalities if name not in hidden)
        yield Clip(f"{person.person_id}-c{index:02d}", label, modalities, cues, (*seed, 3))


def _site(seed: int, index: int, persons: int) -> Site:
    name = SITE_NAMES[index] if index < len(SITE_NAMES) else f"site{index + 1:02d}"
    lacking = {"video"} if index % EVERY_WITHOUT_VIDEO == EVERY_WITHOUT_VIDEO - 1 else set()
    modalities = tuple(m for m in latent.MODALITIES if m not in lacking)
    rng = np.random.default_rng((seed, index))
    tested = set(rng.permutation(persons)[: max(1, round(TEST_PERSONS * persons))].tolist())
    people = (
        Person(
            person_id=f"{name}-p{number:03d}",
            split="test" if number in tested else "train",
            sex=str(rng.choice(["female", "male"])),
            age=str(rng.choice(AGES)),
            seed=(seed, index, number),
        )
        for number in range(persons)
    )
    return Site(name, modalities, tuple(people))
