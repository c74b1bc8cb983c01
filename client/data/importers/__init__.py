"""From a corpus as it is published to one manifest per site."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

from client.data.importers.bids_physio import read_bids_physio
from client.data.importers.cmu_mosei import read_cmu_mosei
from client.data.importers.crema_d import read_crema_d
from client.data.importers.cremad_votes import read_cremad_votes
from client.data.importers.edf import read_edf_folder
from client.data.importers.elan import read_elan
from client.data.importers.embraceplus import read_embraceplus
from client.data.importers.empatica_e4 import read_empatica_e4
from client.data.importers.generic_csv import read_generic_csv
from client.data.importers.iemocap import read_iemocap
from client.data.importers.meld import read_meld
from client.data.importers.ravdess import read_ravdess
from client.data.importers.stress_predict import read_stress_predict
from client.data.importers.wesad import read_wesad
from client.data.importers.writing import Corpus, ImportReport, dealt, write_sites
from common.errors import ConfigError, DataError

PRESETS: dict[str, Callable[..., Corpus]] = {
    "bids_physio": read_bids_physio,
    "cmu_mosei": read_cmu_mosei,
    "crema_d": read_crema_d,
    "cremad_votes": read_cremad_votes,
    "csv": read_generic_csv,
    "edf": read_edf_folder,
    "elan": read_elan,
    "embraceplus": read_embraceplus,
    "empatica_e4": read_empatica_e4,
    "iemocap": read_iemocap,
    "meld": read_meld,
    "ravdess": read_ravdess,
    "stress_predict": read_stress_predict,
    "wesad": read_wesad,
}
"""Name -> reader; what follows the folder in its arguments are its options, all of them text."""

READS_A_FILE = ("csv",)


def import_corpus(
    preset: str,
    source: Path,
    out: Path,
    site: str | None = None,
    options: Mapping[str, str] | None = None,
    sites: int = 0,
) -> ImportReport:
    """Write out/sites/<site>/manifest.csv for every site of a corpus.

    Args:
        preset: name of the corpus' layout.
        source: the folder that holds the corpus, with its sites.json or clients.json if any.
        out: the folder to write; media are hard links into the source where that is possible.
        site: places everything at one site of this name, whatever sites.json says.
        options: the preset's own, by name.
        sites: deals persons to so many sites in turn, whatever sites.json says; 0 does not.

    Raises:
        ConfigError: when the preset, or one of the options, is not known; or a site and a number
            of sites are given.
        DataError: when the source does not have the preset's layout.
    """
    if preset not in PRESETS:
        raise ConfigError(f"unknown preset {preset!r}; known: {', '.join(sorted(PRESETS))}")
    reader, given = PRESETS[preset], dict(options or {})
    _check_options(preset, reader, given)
    if preset not in READS_A_FILE and not source.is_dir():
        raise DataError(f"{source}: no such folder")
    if site and sites:
        raise ConfigError(f"--site {site} and --sites {sites}: expected one of them, not both")
    corpus = reader(source, **given)
    return write_sites(dealt(corpus, sites) if sites else corpus, out, site)


def options_from(pairs: list[str]) -> dict[str, str]:
    """Return KEY=VALUE pairs as a mapping.

    Raises:
        ConfigError: when one is no such pair, or a key stands twice.
    """
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise ConfigError(f"--option {pair[:60]!r}: expected KEY=VALUE")
        if key in options:
            raise ConfigError(f"--option {key}: given twice")
        options[key] = value
    return options


def _check_options(preset: str, reader: Callable[..., Corpus], given: Mapping[str, str]) -> None:
    parameters = list(inspect.signature(reader).parameters.values())[1:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters]
    for key in given:
        if key not in known:
            raise ConfigError(
                f"preset {preset}: unknown option {key!r}; known: {', '.join(known) or 'none'}"
            )
