"""Which words of consent_scope cover a purpose, by the site's policy."""

from datetime import date

import pytest

from client.data.consent import consent_gap

TODAY = date(2026, 11, 23)
UNCOVERED = "consent does not cover 'research'"


def gap(row, scopes=None):
    problems = []
    found = consent_gap(row, "research", TODAY, problems.append, scopes)
    assert problems == []
    return found


@pytest.mark.parametrize(
    ("cell", "scopes", "left_out"),
    [
        ("research", None, ""),
        ("care", None, UNCOVERED),
        ("broad-v3", None, UNCOVERED),
        ("broad-v3", ["broad-v3"], ""),
        ("care; broad-v3", ["broad-v2", "broad-v3"], ""),
        ("broad-v30", ["broad-v3"], UNCOVERED),
        ("research", ["broad-v3"], UNCOVERED),
        ("", ["broad-v3"], UNCOVERED),
        ("broad-v3", [], UNCOVERED),
    ],
)
def test_a_clip_needs_a_word_that_covers_the_purpose(cell, scopes, left_out):
    assert gap({"consent_scope": cell}, scopes) == left_out


def test_a_manifest_without_the_column_covers_nothing_where_the_policy_names_words():
    assert gap({}) == ""
    assert gap({}, ["broad-v3"]) == UNCOVERED


def test_a_scope_outlives_neither_its_day_nor_a_withdrawal():
    row = {"consent_scope": "broad-v3"}
    assert gap({**row, "consent_until": "2026-11-22"}, ["broad-v3"]) == "consent has run out"
    assert gap({**row, "withdrawn": "yes"}, ["broad-v3"]) == "consent was withdrawn"
