"""Configurations as mappings and as text: in full, or what differs from the defaults."""

import dataclasses
import json
from typing import Any

import yaml

from common.config import Modality, Study


def differences_yaml(study: Study) -> str:
    """What differs from the defaults, as YAML that `load_study` reads back to an equal study."""
    given, modality = _listed(plain(study)), dataclasses.asdict(Modality())
    for name, settings in given["modalities"].items():
        given["modalities"][name] = _difference(settings, modality)
    return str(yaml.safe_dump(_difference(given, _listed(plain(Study()))), sort_keys=False))


def plain(config: Any) -> dict[str, Any]:
    """A configuration as mappings; settings that came later are left out at their default.

    Guarantees: a study that uses none of the later settings is written, and hashed, as it was
    before there were any.
    """
    found = dataclasses.asdict(config)
    _without_later(config, found)
    return found


def _without_later(config: Any, found: dict[str, Any]) -> None:
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if item.metadata.get("later") and value == _default(item):
            del found[item.name]
        elif dataclasses.is_dataclass(value):
            _without_later(value, found[item.name])


def _default(item: dataclasses.Field[Any]) -> Any:
    made = item.default_factory
    return item.default if made is dataclasses.MISSING else made()


def _listed(found: dict[str, Any]) -> dict[str, Any]:
    """The same with lists for tuples, as YAML has them."""
    return dict(json.loads(json.dumps(found)))


def _difference(given: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in given.items():
        if isinstance(value, dict) and isinstance(default.get(key), dict) and default[key]:
            inner = _difference(value, default[key])
            found |= {key: inner} if inner else {}
        elif value != default.get(key):
            found[key] = value
    return found
