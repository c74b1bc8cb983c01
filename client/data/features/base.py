"""What a front end is: files to hash, and a function from windows of a source to features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.data.arrays import FloatArray
from client.data.manifest import Source
from common.inputs import Options

Window = tuple[float, float | None]


@dataclass(frozen=True)
class FrontEnd:
    """One way from a source to a tensor of fixed shape.

    Args:
        version: raised whenever the output changes, so that caches are not reused.
        files: from a source to the files it consists of, checked for kind and size; none
            for a source that stands in the manifest itself.
        extract: from (source, windows in seconds, options) to one array per window.
    """

    version: int
    files: Callable[[Source], Sequence[Path]]
    extract: Callable[[Source, Sequence[Window], Options], list[FloatArray]]


def complete(options: Options, known: Options) -> dict[str, Any]:
    """Return options with defaults filled in."""
    return {**known, **options}
