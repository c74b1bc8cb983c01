"""From YAML and key=value pairs to checked dataclasses; errors name the line and what fits."""

import contextlib
import dataclasses
import difflib
import hashlib
import json
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common.chosen import chosen_modalities, with_only
from common.config import SitePolicy, Study
from common.errors import ConfigError
from common.rules import POLICY_RULES, STUDY_RULES, Entries, Named, Rule, flat_keys
from common.sections import UNDER_PRIVACY, Section, sections
from common.targets import check_targets, counts_classes
from common.written import differences_yaml, plain

__all__ = [
    "config_hash",
    "differences_yaml",
    "find_study",
    "load_policy",
    "load_study",
    "overrides_from_run_config",
    "study_names",
    "to_yaml",
]
STUDIES = Path(__file__).resolve().parent.parent / "conf" / "studies"
T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def study_names() -> tuple[str, ...]:
    """Names of the studies that stand in conf/studies."""
    return tuple(sorted(path.stem for path in STUDIES.glob("*.yaml")))


def find_study(name: str, own: Path | None = None) -> Path:
    """The YAML file of a study, given its name or its own path.

    Args:
        name: of a study that comes with Tacit or lies in `own`; or a path ending in .yaml.
        own: a folder of further studies, such as a site's; its studies go before others.

    Raises:
        ConfigError: there is no such study.
    """
    if name.endswith((".yaml", ".yml")):
        if Path(name).is_file():
            return Path(name)
        raise ConfigError(f"{name}: no such file; expected a study's YAML file.")
    folders = [folder for folder in (own, STUDIES) if folder and _NAME.fullmatch(name)]
    for path in (folder / f"{name}.yaml" for folder in folders):
        if path.is_file():
            return path
    near = difflib.get_close_matches(name, study_names(), n=1, cutoff=0.4)
    near = [f"{name}.yaml"] if Path(f"{name}.yaml").is_file() else near
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ConfigError(
        f"There is no study {name!r}.{hint} Known studies: {', '.join(study_names())}; "
        "a path ending in .yaml works too."
    )


def load_study(name: str, overrides: Iterable[str] = (), own: Path | None = None) -> Study:
    """A study, given its name or path, with key=value pairs on top.

    Args:
        name, own: as for `find_study`.
        overrides: key=value pairs; `modalities=a,b` keeps these modalities alone.

    Raises:
        ConfigError: no such study, or a key or value that does not fit; names the line.
    """
    path = find_study(name, own)
    rest, names = chosen_modalities(overrides)
    study = with_only(_load(Study, path, rest, STUDY_RULES), names)
    check_targets(study, str(path))
    if study.split.fold >= max(1, study.split.folds):
        most = max(0, study.split.folds - 1)
        raise ConfigError(f"{path}: split.fold is {study.split.fold}; expected 0 to {most}.")
    if study.privacy.mode != "none" and study.training.compile:
        raise ConfigError(
            f"{path}: training.compile is true with privacy.mode={study.privacy.mode}; "
            "expected false: clipping cannot see into a compiled model."
        )
    if study.privacy.mode != "none" and study.normalise == "federated":
        raise ConfigError(
            f"{path}: normalise=federated releases exact statistics, so it cannot stand with "
            f"privacy.mode={study.privacy.mode}; expected normalise=none or normalise=person."
        )
    if study.privacy.mode != "none" and counts_classes(study):
        raise ConfigError(
            f"{path}: training.balance_over=all_sites releases exact counts of classes, so it "
            f"cannot stand with privacy.mode={study.privacy.mode}; expected site."
        )
    return study


def load_policy(path: Path) -> SitePolicy:
    """A site's policy from its YAML file.

    Raises:
        ConfigError: missing, or a key or value that does not fit; names the line.
    """
    return _load(SitePolicy, path, (), POLICY_RULES)


def overrides_from_run_config(run_config: Mapping[str, object]) -> tuple[str, ...]:
    """Flower's flat run_config as key=value pairs of a study; "" means: as the study says."""
    known = set(flat_keys(Study))
    named = {key.replace("-", "_"): value for key, value in run_config.items()}
    return tuple(f"{key}={value}" for key, value in named.items() if key in known and value != "")


def to_yaml(config: object) -> str:
    """A configuration in full, as YAML that `load` reads back to an equal one."""
    return OmegaConf.to_yaml(OmegaConf.create(plain(config)))


def config_hash(config: Study) -> bytes:
    """SHA-256 over the canonical JSON of a study: what every signature of a run binds."""
    text = json.dumps(plain(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(b"tacit study v1" + text.encode()).digest()


def _load(kind: type[T], path: Path, overrides: tuple[str, ...], rules: tuple[Rule, ...]) -> T:
    text = _text(path)
    lines = _lines(text, path)
    where = partial(_at, path, lines)
    content = _mapping(text, path)
    under_privacy = content.pop(UNDER_PRIVACY, {}) if kind is Study else {}
    config = _merge(OmegaConf.structured(kind), content, where)
    chosen = _sections(under_privacy, _with_pairs(config, overrides), where)
    for section in chosen:
        at = partial(_in_section, section, where)
        config = _merge(config, OmegaConf.create(dict(section.settings)), at)
    value = typing.cast("T", OmegaConf.to_object(_with_pairs(config, overrides)))
    given = {pair.partition("=")[0]: _in_pair(pair, "") for pair in overrides}

    def place(key: str) -> str:
        keys = [f"{section.key}.{key}" for section in reversed(chosen)]
        return given.get(key) or where(next((k for k in keys if k in lines), key))

    _check(value, rules, place)
    return value


def _with_pairs(config: Any, pairs: tuple[str, ...]) -> Any:
    for pair in pairs:
        config = _merge(config, _pair(pair), partial(_in_pair, pair))
    return config


def _sections(under_privacy: Any, asked: Any, where: Callable[[str], str]) -> tuple[Section, ...]:
    """The sections for the mode and the ε that are asked for; they cannot change either."""
    if not under_privacy:
        return ()
    mode, epsilon = asked.privacy.mode, asked.privacy.target_epsilon
    is_plain = not OmegaConf.is_config(under_privacy)
    found = under_privacy if is_plain else OmegaConf.to_container(under_privacy)
    chosen = sections(found, mode, epsilon, where)
    for section in chosen:
        privacy = section.settings.get("privacy") or {}
        for name in {"mode", "target_epsilon"} & set(privacy):
            key = f"{section.key}.privacy.{name}"
            raise ConfigError(f"{where(key)}: {key}: a section cannot set what it depends on.")
    return chosen


def _in_section(section: Section, where: Callable[[str], str], key: str) -> str:
    return where(f"{section.key}.{key}")


def _text(path: Path) -> str:
    """What a configuration file says; interpolations would read the machine's own secrets."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8.") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if "${" in line:
            raise ConfigError(
                f"{path}, line {number}: '${{' is not allowed; give the value itself."
            )
    return text


def _mapping(text: str, path: Path) -> Any:
    try:
        found = OmegaConf.create(text if yaml.safe_load(text) else "{}")
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    if not OmegaConf.is_dict(found):
        raise ConfigError(f"{path}, line 1: expected keys and values, found a list.")
    return found


def _in_pair(pair: str, _key: str) -> str:
    return f"in {pair!r}"


def _pair(pair: str) -> Any:
    key, equals, _ = pair.partition("=")
    if not equals or not key:
        raise ConfigError(f"{pair!r} is not a setting: expected key=value.")
    if "${" in pair:
        raise ConfigError(f"{pair!r}: '${{' is not allowed; give the value itself.")
    try:
        return OmegaConf.from_dotlist([pair])
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(f"{pair!r} is not a setting: {_first_line(error)}.") from error


def _merge(config: Any, extra: Any, where: Callable[[str], str]) -> Any:
    with contextlib.suppress(OmegaConfBaseException, TypeError):
        return OmegaConf.merge(config, extra)
    for name in extra:  # which key is wrong
        try:
            config = OmegaConf.merge(config, OmegaConf.masked_copy(extra, [name]))
        except (OmegaConfBaseException, TypeError) as error:
            key = str(getattr(error, "full_key", None) or name)
            said = f"{where(key)}: {_first_line(error)}.{_nearest(config, key)}"
            raise ConfigError(said) from error
    return config


def _first_line(error: Exception) -> str:
    """What OmegaConf says, without its own guess at the key that was meant."""
    return str(error).splitlines()[0].partition(" Did you mean")[0].rstrip(". ")


def _nearest(config: Any, key: str) -> str:
    """The nearest known key, when a key is unknown."""
    kind = typing.cast("type", OmegaConf.get_type(config))
    known = (*flat_keys(kind), *(item.name for item in dataclasses.fields(kind)))
    if key in known or key.startswith(("modalities.", "dimensions.", "labels.")):
        return ""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f" The nearest key is {near[0]}." if near else ""


def _check(config: object, rules: tuple[Rule, ...], where: Callable[[str], str]) -> None:
    for key, fits, expected in rules:
        value: Any = config
        for part in key.split("."):
            value = getattr(value, part)
        if not fits(value):
            inner = fits.first_wrong(value) if isinstance(fits, Entries | Named) else None
            at, found = (key, value) if inner is None else (f"{key}.{inner}", value[inner])
            raise ConfigError(f"{where(at)}: {at} is {_shown(found)!r}; expected {expected}.")


def _shown(value: Any) -> object:
    """A value as it stands in the file."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return list(value) if isinstance(value, tuple) else value


def _at(path: Path, lines: dict[str, int], key: str) -> str:
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return f"{path}, line {lines[key]}" if key in lines else str(path)


def _lines(text: str, path: Path) -> dict[str, int]:
    """Dotted key -> line number, counted from 1."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    found: dict[str, int] = {}
    _walk(root, "", found)
    return found


def _walk(node: Any, prefix: str, found: dict[str, int]) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    for key_node, value_node in node.value:
        key = f"{prefix}{key_node.value}"
        found[key] = key_node.start_mark.line + 1
        _walk(value_node, f"{key}.", found)
