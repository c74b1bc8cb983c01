"""Front ends: light, deterministic, without weights. They turn a recording into a fixed shape.

Every front end scales its output by fixed public constants to about zero mean and unit
size, so that a private run needs no statistics of the data. None of them sees time of
day, order or the length of a clip.
"""

from client.data.features.base import FrontEnd
from client.data.features.logmel import LOGMEL
from client.data.features.physio import PHYSIO_FUNCTIONALS
from client.data.features.pictures import GRAY32, VIDEO_GRAY
from client.data.features.speech import SPEECH_FUNCTIONALS
from client.data.features.text import TEXT_HASH
from client.data.features.vector import VECTOR
from common.errors import ConfigError

FRONT_ENDS: dict[str, FrontEnd] = {
    "gray32": GRAY32,
    "logmel": LOGMEL,
    "physio_functionals": PHYSIO_FUNCTIONALS,
    "speech_functionals": SPEECH_FUNCTIONALS,
    "text_hash": TEXT_HASH,
    "vector": VECTOR,
    "video_gray": VIDEO_GRAY,
}


def front_end(name: str) -> FrontEnd:
    """Return a front end by its name.

    Raises:
        ConfigError: naming the known ones.
    """
    if name not in FRONT_ENDS:
        raise ConfigError(f"unknown front end {name!r}; known: {', '.join(sorted(FRONT_ENDS))}")
    return FRONT_ENDS[name]
