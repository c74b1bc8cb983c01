"""The JSON schema of policy.yaml, made from the dataclass, so that an editor can check the file.

`python -m client.policy.schema` writes it to docs/schemas/policy.json.
"""

import dataclasses
import json
import re
import types
import typing
from inspect import cleandoc
from pathlib import Path

from common.config import FrozenEncoder, SitePolicy
from common.rules import ANY, EXCEPTIONS, POLICY_RULES, SETTINGS, Between, Matches, OneOf

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "policy.json"
Json = dict[str, typing.Any]

_SCALARS: dict[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    types.NoneType: "null",
}
_TEXTS: Json = {"type": "array", "items": {"type": "string"}}
_SETTING: Json = {
    "anyOf": [
        {"const": ANY},
        {"type": "array", "items": {"type": ["string", "number", "boolean", "null"]}},
        {
            "type": "object",
            "properties": {"least": {"type": "number"}, "most": {"type": "number"}},
            "additionalProperties": False,
            "minProperties": 1,
        },
    ]
}
_MAPPINGS: dict[str, Json] = {
    "consent_scopes": {"type": "object", "additionalProperties": _TEXTS},
    "settings": {
        "type": "object",
        "propertyNames": {"enum": list(SETTINGS.keys)},
        "additionalProperties": _SETTING,
    },
}
_INNER: dict[str, Json] = {
    "exception.kind": {"enum": ["", *EXCEPTIONS]},
    "ethics.until": {"pattern": r"^(\d{4}-\d{2}-\d{2})?$"},
    "encoders.path": {"minLength": 1},
    "encoders.sha256": {"pattern": "^([0-9a-f]{64})?$"},
}


def policy_schema() -> Json:
    """The schema: every key with its meaning, its default and what fits."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "policy.yaml of a Tacit site",
        **_object(SitePolicy, ""),
        "required": ["site", "declared_persons"],
    }


def schema_text() -> str:
    """The schema as it is written to files."""
    return json.dumps(policy_schema(), indent=1, ensure_ascii=False) + "\n"


def meanings(kind: type) -> dict[str, str]:
    """Field -> what its dataclass's docstring says of it, on one line."""
    _, _, told = cleandoc(kind.__doc__ or "").partition("Args:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", told, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _object(kind: type, prefix: str) -> Json:
    hints, told = typing.get_type_hints(kind), meanings(kind)
    default = kind()
    properties = {
        item.name: {
            "description": told[item.name],
            **_field(f"{prefix}{item.name}", hints[item.name]),
            **_default(getattr(default, item.name)),
        }
        for item in dataclasses.fields(kind)
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _field(key: str, hint: typing.Any) -> Json:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _object(hint, f"{key}.")
    if key in _MAPPINGS:
        return _MAPPINGS[key]
    if key == "encoders":
        return {"type": "object", "additionalProperties": _object(FrozenEncoder, "encoders.")}
    fits = next((rule[1] for rule in POLICY_RULES if rule[0] == key), None)
    if typing.get_origin(hint) is tuple:
        return {"type": "array", "items": {"type": "string"} | _limits(fits)}
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    names = [_SCALARS[kind] for kind in kinds]
    return {"type": names[0] if len(names) == 1 else names} | _limits(fits) | _INNER.get(key, {})


def _limits(fits: object) -> Json:
    """What a rule says, where JSON Schema has words for it."""
    if isinstance(fits, OneOf):
        return {"enum": list(fits.names)}
    if isinstance(fits, Between):
        return {"minimum": fits.low, "maximum": fits.high}
    if isinstance(fits, Matches):
        return {"pattern": f"^({fits.pattern})$"}
    return {}


def _default(value: object) -> Json:
    if dataclasses.is_dataclass(value):
        return {}
    return {"default": list(value) if isinstance(value, tuple) else value}


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8")
