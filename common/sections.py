"""Settings of a study that hold under privacy only, by mode and by how large ε is.

```yaml
under_privacy:
  distributed:
    training: {learning_rate: 2.0}
    up_to_epsilon:
      2: {training: {learning_rate: 0.5}}   # where target_epsilon is 2 or less
```

A section lies on top of the rest of the study and below what is typed on the command line.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import ConfigError

UNDER_PRIVACY = "under_privacy"
UP_TO_EPSILON = "up_to_epsilon"
MODES = ("local", "distributed")


@dataclass(frozen=True)
class Section:
    """Settings that lie on top of a study.

    Args:
        key: where they stand in the file, dotted.
        settings: the same keys as a study's.
    """

    key: str
    settings: Mapping[str, Any]


def sections(
    found: object, mode: str, epsilon: float, where: Callable[[str], str]
) -> tuple[Section, ...]:
    """The sections that hold, later ones on top: the mode's own, then the tightest bound on ε.

    Args:
        found: what stands under `under_privacy`.
        mode: privacy.mode.
        epsilon: privacy.target_epsilon.
        where: dotted key -> the place in the file, for errors.

    Raises:
        ConfigError: a mode, a bound or a section is not one.
    """
    by_mode = _mapping(found, UNDER_PRIVACY, where)
    for name in by_mode:
        if name not in MODES:
            key = f"{UNDER_PRIVACY}.{name}"
            raise ConfigError(f"{where(key)}: {key}: expected one of {', '.join(MODES)}.")
    if mode not in by_mode:
        return ()
    key = f"{UNDER_PRIVACY}.{mode}"
    settings = dict(_mapping(by_mode[mode], key, where))
    bounds = _bounds(settings.pop(UP_TO_EPSILON, {}), f"{key}.{UP_TO_EPSILON}", where)
    tightest = min((bound for bound in bounds if epsilon <= bound), default=None)
    return (Section(key, settings), *(() if tightest is None else (bounds[tightest],)))


def _bounds(found: object, key: str, where: Callable[[str], str]) -> dict[float, Section]:
    bounds = {}
    for name, settings in _mapping(found, key, where).items():
        inner = f"{key}.{name}"
        try:
            bound = float(name)
        except ValueError:
            bound = math.nan
        if not bound > 0:
            raise ConfigError(f"{where(inner)}: {inner}: expected an ε above 0, found {name!r}.")
        bounds[bound] = Section(inner, _mapping(settings, inner, where))
    return bounds


def _mapping(found: object, key: str, where: Callable[[str], str]) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise ConfigError(f"{where(key)}: {key}: expected keys and values, found {found!r}.")
    return found
