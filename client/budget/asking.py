"""What a plan is asked for: a study and its settings, or numbers alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from common.config import Privacy, Study, Training
from common.errors import ConfigError
from common.privacy.plan import check_delta
from common.settings import load_study
from common.sums import parameters_of

EPSILONS = (1.0, 2.0, 4.0, 8.0)
PARAMETERS = 10_000
"""Trained values of a model that nobody described."""


@dataclass(frozen=True)
class Setting:
    """What is planned for.

    Args:
        study: its privacy and training; a noise multiplier that it gives is kept.
        sites: how many take part.
        parameters: trained values of the model.
        persons: units at each site; None leaves out what depends on them.
    """

    study: Study
    sites: int
    parameters: int
    persons: int | None


def setting_asked(study: str | None, settings: Sequence[str], given: dict[str, Any]) -> Setting:
    """Return a setting: a study's with numbers on top, or one from numbers alone.

    Args:
        study: name or path of a study; None starts from the defaults in local mode.
        settings: key=value pairs on top of the study.
        given: persons, sites, parameters, and any field of Privacy or Training; None leaves it.

    Raises:
        ConfigError: no such study, or a number is out of range.
    """
    if study is None and settings:
        raise ConfigError(f"{settings[0]!r}: settings need a study before them.")
    found = load_study(study, settings) if study else None
    changes = dict(given)
    persons, sites, parameters = (changes.pop(name) for name in ("persons", "sites", "parameters"))
    size = parameters or (parameters_of(found) if found else PARAMETERS)
    return setting_from(found, persons, sites, size, changes)


def setting_from(
    study: Study | None, persons: int | None, sites: int, parameters: int, changes: dict[str, Any]
) -> Setting:
    """Return a setting; see `setting_asked`."""
    base = study or Study(name="plan", privacy=Privacy(mode="local"))
    given = {name: value for name, value in changes.items() if value is not None}
    private = {name: given.pop(name) for name in list(given) if hasattr(Privacy(), name)}
    found = replace(
        base, privacy=replace(base.privacy, **private), training=replace(base.training, **given)
    )
    _check(found.privacy, found.training, persons, sites, parameters)
    return Setting(found, sites, parameters, persons)


def targets(epsilon: Sequence[float] | None, setting: Setting) -> tuple[float, ...]:
    """Return the ε to plan for: those given, or 1, 2, 4, 8 and the study's own.

    Raises:
        ConfigError: one is not above 0.
    """
    if any(not one > 0 for one in epsilon or ()):
        raise ConfigError("--epsilon: expected a number above 0.")
    return tuple(sorted({*(epsilon or (*EPSILONS, setting.study.privacy.target_epsilon))}))


def _check(
    privacy: Privacy, training: Training, persons: int | None, sites: int, parameters: int
) -> None:
    fewest = 3 if privacy.mode == "distributed" else 1
    sigma = privacy.noise_multiplier
    ranges = {
        "--mode": (privacy.mode in ("local", "distributed"), "local or distributed"),
        "--unit": (privacy.unit in ("person", "record"), "person or record"),
        "--rate": (0 < privacy.sampling_rate <= 1, "above 0 and at most 1"),
        "--delta": (0 < privacy.target_delta < 1, "above 0 and below 1"),
        "--rounds": (training.num_server_rounds >= 1, "1 or more"),
        "--steps": (training.local_steps >= 1, "1 or more"),
        "--persons": (persons is None or persons >= 1, "1 or more"),
        "--parameters": (parameters >= 1, "1 or more"),
        "--sites": (sites >= fewest, f"{fewest} or more"),
        "--noise-multiplier": (sigma is None or sigma > 0, "above 0"),
    }
    for name, (fits, expected) in ranges.items():
        if not fits:
            raise ConfigError(f"{name}: expected {expected}.")
    if persons is not None:
        check_delta(privacy.target_delta, persons)
