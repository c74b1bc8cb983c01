"""The schema of policy.yaml: made from the dataclass, and it says what the loader says."""

import dataclasses
import json
import re

import jsonschema
import pytest
import yaml

from client.policy.schema import SCHEMA, meanings, policy_schema, schema_text
from client.site.folder import Wishes, policy_text
from common.approval import Ethics, PurposeException
from common.config import SitePolicy
from common.errors import ConfigError
from common.settings import load_policy, to_yaml

BASE = {"site": "hill", "declared_persons": 40}
checker = jsonschema.Draft202012Validator(policy_schema())


def test_the_schema_in_the_documents_is_the_dataclass():
    made_by = "run: python -m client.policy.schema"
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), made_by


def test_it_is_a_schema_and_knows_every_field_and_its_default():
    jsonschema.Draft202012Validator.check_schema(policy_schema())
    properties, default = policy_schema()["properties"], SitePolicy()
    assert list(properties) == [item.name for item in dataclasses.fields(SitePolicy)]
    for name, said in properties.items():
        assert said["description"]
        if "default" in said:
            assert said["default"] == json.loads(json.dumps(getattr(default, name)))


def test_every_key_stands_in_the_officers_document():
    text = (SCHEMA.parents[1] / "policy.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", text, flags=re.MULTILINE)
    assert sorted(key for key, _ in rows) == sorted(i.name for i in dataclasses.fields(SitePolicy))
    for key, said in rows:
        default = getattr(SitePolicy(), key)
        if isinstance(default, int | float) and not isinstance(default, bool) and default:
            assert said.startswith(f"{default}"), key


@pytest.mark.parametrize("kind", [SitePolicy, Ethics, PurposeException])
def test_every_field_has_a_meaning(kind):
    assert set(meanings(kind)) == {item.name for item in dataclasses.fields(kind)}


def test_what_init_writes_and_what_the_loader_writes_fit(tmp_path):
    wishes = Wishes(
        "hill", 40, "", ("research",), studies=("demo",), ethics="EK", ethics_until="2027-01-01"
    )
    for text in (policy_text(wishes), to_yaml(SitePolicy(**BASE))):
        checker.validate(json_of(text, tmp_path))


def json_of(text, tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return json.loads(json.dumps(dataclasses.asdict(load_policy(path))))


FITS = [
    {"settings": {"privacy.mode": ["local"], "*": "any", "seed": {"least": 1}}},
    {"ethics": {"reference": "EK 7", "until": "2027-12-31"}},
    {"exception": {"kind": "medical", "reference": "r", "signed_by": "s"}},
    {"quiet_hours": ["22:00-06:00"]},
    {"consent_scopes": {"research": ["broad"]}},
    {"max_epsilon_per_study": None},
    {"suite": "x25519"},
]
BAD = [
    {"setings": {}},
    {"settings": {"training.rounds": "any"}},
    {"settings": {"seed": 3}},
    {"settings": {"seed": {"leest": 1}}},
    {"ethics": {"reference": "x", "until": "tomorrow"}},
    {"ethics": {"reference": "x", "untill": "2027-12-31"}},
    {"exception": {"kind": "wellbeing", "reference": "r", "signed_by": "s"}},
    {"quiet_hours": ["22-6"]},
    {"quiet_hours": ["24:00-06:00"]},
    {"consent_scopes": ["research"]},
    {"suite": "rsa"},
    {"min_sites": 2},
    {"max_epsilon": -1},
    {"studies": ["a b"]},
]


@pytest.mark.parametrize("more", FITS, ids=lambda more: next(iter(more)))
def test_what_fits_fits_both(tmp_path, more):
    checker.validate(BASE | more)
    json_of(json.dumps(BASE | more), tmp_path)


@pytest.mark.parametrize("more", BAD, ids=str)
def test_what_does_not_fit_is_refused_by_both_and_with_its_line(tmp_path, more):
    with pytest.raises(jsonschema.ValidationError):
        checker.validate(BASE | more)
    with pytest.raises(ConfigError, match=r"policy\.yaml, line [3-9]"):
        json_of(yaml.safe_dump(BASE | more, sort_keys=False), tmp_path)
