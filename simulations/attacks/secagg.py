"""Six attacks of a cheating coordinator, each on Flower's SecAgg+ and on this project."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from common.secagg import transcript
from simulations.attacks.flower_attacks import attack_flower
from simulations.attacks.flower_masks import Guessing, guessing
from simulations.attacks.outcome import Found, Observed
from simulations.attacks.scene import SITES, VICTIM, lay_scene
from simulations.attacks.tacit_attacks import attack_tacit, repeat_nearly

TITLES = {
    "key_swap": ("Key swap", f"gives {VICTIM} keys of its own as those of all other sites"),
    "cohort_of_one": ("Cohort of one", f"invites {VICTIM} alone, or keeps its vector alone"),
    "both_secrets": ("Both secrets", f"asks the sites for both secrets behind {VICTIM}'s masks"),
    "replay": ("Replay", f"unmasks twice; repeats the round on the same model without {VICTIM}"),
    "two_lists": (
        "Two lists",
        f"tells some sites that {VICTIM} contributed, others that it did not",
    ),
    "different_models": (
        "Different models",
        f"sends {VICTIM} the model, and the others one that cannot learn",
    ),
}
"""Attack -> its name, and what the coordinator does."""


@dataclass(frozen=True)
class Attack:
    """One attack, on both.

    Args:
        name: among TITLES.
        flower: what it brought on Flower's SecAgg+.
        tacit: what it brought on this project.
    """

    name: str
    flower: Observed
    tacit: Observed

    @property
    def title(self) -> str:
        """Its name, as people say it."""
        return TITLES[self.name][0]

    @property
    def does(self) -> str:
        """What the coordinator does."""
        return TITLES[self.name][1]

    def as_json(self) -> dict[str, object]:
        """Everything as JSON values."""
        named = {"name": self.name, "title": self.title, "does": self.does}
        flower = self.flower.as_json()
        del flower["answered"]  # noted for our own sites only: there none may be
        return {**named, "flower": flower, "tacit": self.tacit.as_json()}


@dataclass(frozen=True)
class Attacks:
    """All attacks, and how many guesses a mask takes.

    Args:
        attacks: in order.
        largest_value: of the victim's update, in absolute value.
        near_model: what this project gives away if a round is repeated on nearly the same model.
        flower_masks: how far the masks of Flower can be guessed.
        tacit_mask_bits: length of the key of a mask of this project.
    """

    attacks: tuple[Attack, ...]
    largest_value: float
    near_model: Found
    flower_masks: Guessing
    tacit_mask_bits: int

    @property
    def all_refused(self) -> bool:
        """Whether this project's sites refused every attack, and nothing was learnt."""
        return all(attack.tacit.is_refused for attack in self.attacks)

    @property
    def flower_version(self) -> str:
        """Which Flower was attacked."""
        return version("flwr")

    def as_json(self) -> dict[str, object]:
        """Everything as JSON values."""
        return {
            "flower_version": self.flower_version,
            "sites": list(SITES),
            "victim": VICTIM,
            "all_refused": self.all_refused,
            "attacks": [one.as_json() for one in self.attacks],
            "largest_value": self.largest_value,
            "near_model": asdict(self.near_model),
            "flower_masks": asdict(self.flower_masks),
            "tacit_mask_bits": self.tacit_mask_bits,
        }


def attack_secagg(root: Path, watch: Callable[[str], None] = lambda _title: None) -> Attacks:
    """Play every attack on both.

    Args:
        root: an empty folder for throw-away sites.
        watch: gets the name of each attack before it is played.
    """
    scene, found = lay_scene(root), []
    for name, (title, _) in TITLES.items():
        watch(title)
        found.append(Attack(name, attack_flower(scene, name), attack_tacit(scene, name)))
    watch("For information")
    key = transcript.pair_mask(bytes(32), bytes(32), bytes(32), *SITES[:2])
    near = repeat_nearly(scene)
    return Attacks(tuple(found), scene.largest_value(), near, guessing(), 8 * len(key))
