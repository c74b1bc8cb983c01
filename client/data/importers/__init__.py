"""From a corpus as it is published to one manifest per site."""

from collections.abc import Callable
from pathlib import Path

from client.data.importers.cremad_votes import read_cremad_votes
from client.data.importers.meld import read_meld
from client.data.importers.ravdess import read_ravdess
from client.data.importers.stress_predict import read_stress_predict
from client.data.importers.writing import Corpus, ImportReport, write_sites
from common.errors import ConfigError, DataError

PRESETS: dict[str, Callable[[Path], Corpus]] = {
    "cremad_votes": read_cremad_votes,
    "meld": read_meld,
    "ravdess": read_ravdess,
    "stress_predict": read_stress_predict,
}


def import_corpus(preset: str, source: Path, out: Path, site: str | None = None) -> ImportReport:
    """Write out/sites/<site>/manifest.csv for every site of a corpus.

    Args:
        preset: name of the corpus' layout.
        source: the folder that holds the corpus, with its sites.json or clients.json if any.
        out: the folder to write; media are hard links into the source where that is possible.
        site: places everything at one site of this name, whatever sites.json says.

    Raises:
        ConfigError: when the preset is not known.
        DataError: when the source does not have the preset's layout.
    """
    if preset not in PRESETS:
        raise ConfigError(f"unknown preset {preset!r}; known: {', '.join(sorted(PRESETS))}")
    if not source.is_dir():
        raise DataError(f"{source}: no such folder")
    return write_sites(PRESETS[preset](source), out, site)
