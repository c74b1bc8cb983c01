"""What is typed on top of a study: `modalities=audio,text` keeps these alone; idle settings."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import replace

from common.config import Study
from common.errors import ConfigError

_CHOICE = re.compile(r"modalities=\[?\s*([A-Za-z]\w*(?:\s*,\s*[A-Za-z]\w*)*)\s*\]?")


def chosen_modalities(pairs: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split settings into those of other keys, and the modalities that the last choice names.

    A mapping such as `modalities={audio: {…}}` is no choice: it adds to a study's own.
    """
    rest, names = [], ""
    for pair in pairs:
        found = _CHOICE.fullmatch(pair)
        if found:
            names = found[1]
        else:
            rest.append(pair)
    return tuple(rest), tuple(dict.fromkeys(re.findall(r"\w+", names)))


def with_only(study: Study, names: tuple[str, ...]) -> Study:
    """The study with these modalities alone; with all of its own where none is named.

    Raises:
        ConfigError: a name is not one of the study's modalities.
    """
    known = sorted(study.modalities)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"modalities={','.join(names)}: {study.name} has no {name!r}; "
                f"expected some of {', '.join(known)}.{hint}"
            )
    kept = {name: study.modalities[name] for name in names or study.modalities}
    return replace(study, modalities=kept)


def check_heeded(study: Study, overrides: Iterable[str]) -> None:
    """Refuse settings of privacy that somebody typed and that this study would not heed.

    Args:
        study: with the overrides.
        overrides: key=value pairs; privacy.mode=none among them says that it is meant.

    Raises:
        ConfigError: a key of privacy, while the study trains without any.
    """
    given = [pair.partition("=")[0].strip() for pair in overrides]
    idle = [key for key in given if key.startswith("privacy.")]
    if idle and study.privacy.mode == "none" and "privacy.mode" not in given:
        raise ConfigError(
            f"{idle[0]} would change nothing: {study.name} trains without privacy. Add "
            "privacy.mode=distributed (noise that sites share) or privacy.mode=local (noise at "
            "each site); privacy.mode=none says that none is meant."
        )
