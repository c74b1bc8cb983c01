"""Some of a study's modalities alone: `modalities=audio,text` keeps these and drops the rest."""

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
