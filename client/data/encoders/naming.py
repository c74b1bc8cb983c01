"""Which folder a study's encoder is, where no site's policy says so: by option or environment."""

import os
from collections.abc import Sequence
from pathlib import Path

from common.config import FrozenEncoder, Study
from common.errors import ConfigError
from common.inputs import encoders_of

VARIABLE = "TACIT_ENCODERS"


def encoders_given(study: Study, pairs: Sequence[str] = ()) -> dict[str, FrozenEncoder]:
    """Return where the encoders of a study lie, as far as it was said.

    Args:
        study: names them.
        pairs: NAME=FOLDER each; they go before the environment variable TACIT_ENCODERS, a folder
            that holds a folder of the encoder's name.

    Raises:
        ConfigError: a pair is none, or names an encoder that the study does not have.
    """
    needed = encoders_of(study)
    root = os.environ.get(VARIABLE, "")
    found = {name: FrozenEncoder(str(Path(root, name).absolute())) for name in needed if root}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not equals or not folder or name not in needed:
            known = ", ".join(needed) or "none"
            raise ConfigError(
                f"--encoder {pair!r}: expected NAME=FOLDER with a name of the study's: {known}."
            )
        found[name] = FrozenEncoder(str(Path(folder).absolute()))
    return found
