"""What sites chose to publish of their budgets, and what the coordinator believes of it."""

import json
from dataclasses import replace

import pytest

from common.errors import ConfigError, PrivacyError
from common.keys import new_identity, write_roster
from common.secagg.roster import Roster
from common.statements import (
    Statement,
    StudyFigures,
    from_json,
    sign_statement,
    to_json,
    write_statement,
)
from server.budget import federation_form, federation_table, read_published

HILL, LAKE = new_identity("hill"), new_identity("lake")
KEYS = {"hill": HILL.public_key, "lake": LAKE.public_key}
FIGURES = StudyFigures(
    "moods", "person", 1e-3, 2.5, 8.0, 4, 9, "2026-01-01T00:00:00+00:00", ("counts",)
)
SAID = sign_statement(HILL, Statement("hill", "2026-01-02T00:00:00+00:00", (FIGURES,)))


@pytest.fixture
def run(tmp_path):
    write_roster(tmp_path / "roster.json", KEYS)
    return tmp_path


def test_a_statement_reads_back():
    assert from_json(to_json(SAID), Roster(KEYS)) == SAID
    silent = replace(FIGURES, epsilon_spent=None, epsilon_cap=None, rounds_affordable=None)
    signed = sign_statement(HILL, Statement("hill", "now", (silent,)))
    assert from_json(to_json(signed), Roster(KEYS)) == signed


def test_what_was_published_is_told_and_who_kept_silent(run):
    write_statement(run / "budgets" / "hill.json", SAID)
    hill, lake = read_published(run)
    assert hill.statement == SAID
    assert lake.statement is None
    form = federation_form((hill, lake))
    assert form["sites"][0]["studies"][0]["epsilon_spent"] == 2.5
    assert form["sites"][1] == {
        "site": "lake", "published": False, "problem": None, "at": None, "studies": [],
    }  # fmt: skip
    assert federation_table((hill, lake))


@pytest.mark.parametrize(
    "change",
    [
        {"at": "2027-01-01"},
        {"site": "lake"},
        {"studies": (replace(FIGURES, epsilon_spent=0.1),)},
        {"signature": "00" * 64},
        {"signature": ""},
    ],
)
def test_a_changed_statement_is_not_believed(run, change):
    with pytest.raises(PrivacyError, match="not signed by that site"):
        from_json(to_json(replace(SAID, **change)), Roster(KEYS))
    write_statement(run / "budgets" / "hill.json", replace(SAID, **change))
    assert read_published(run)[0].problem


def test_a_statement_in_anothers_place_is_not_believed(run):
    write_statement(run / "budgets" / "lake.json", SAID)
    assert "signed by hill" in read_published(run)[1].problem


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x", "version": 1}', "x" * (1 << 21)])
def test_what_is_no_statement_is_said(run, text):
    with pytest.raises(ConfigError, match=r"statement"):
        from_json(text, Roster(KEYS))
    (run / "budgets").mkdir()
    (run / "budgets" / "hill.json").write_text(text)
    assert read_published(run)[0].problem


def test_a_folder_that_holds_no_run_is_said(tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        read_published(tmp_path)


def test_a_figure_too_many_is_refused():
    record = json.loads(to_json(SAID))
    record["studies"][0]["persons"] = 40
    with pytest.raises(ConfigError):
        from_json(json.dumps(record), Roster(KEYS))
