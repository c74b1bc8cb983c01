"""Quiet hours: nothing is begun in them, and the other sites go on."""

from datetime import datetime, time

import pytest

import client.steps
from client.policy import gate_hours
from client.policy.hours import is_within
from common.config import SitePolicy
from common.errors import QuietHours
from common.models.registry import build
from common.parameters import to_arrays

NIGHT, NOON = "22:00-06:00", "12:00-13:30"


@pytest.mark.parametrize(
    ("span", "moment", "inside"),
    [
        (NIGHT, "22:00", True),
        (NIGHT, "23:59", True),
        (NIGHT, "00:00", True),
        (NIGHT, "05:59", True),
        (NIGHT, "06:00", False),
        (NIGHT, "21:59", False),
        (NOON, "11:59", False),
        (NOON, "12:00", True),
        (NOON, "13:29", True),
        (NOON, "13:30", False),
        ("08:00-08:00", "03:00", True),
        ("08:00-08:00", "08:00", True),
    ],
)
def test_a_span_belongs_to_its_start_and_not_to_its_end(span, moment, inside):
    assert is_within(span, time.fromisoformat(moment)) is inside


def test_nothing_is_begun_in_any_of_the_spans():
    policy = SitePolicy(site="hill", quiet_hours=(NIGHT, NOON))
    gate_hours(policy, datetime(2026, 11, 23, 9, 0))
    for hour in (12, 23):
        with pytest.raises(QuietHours, match=r"hill begins nothing from .*quiet_hours"):
            gate_hours(policy, datetime(2026, 11, 23, hour, 15))
    gate_hours(SitePolicy(site="hill"), datetime(2026, 11, 23, 23, 0))


class Noon(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 11, 23, 12, 15)


def test_a_site_that_rests_is_a_drop_out(lay_table, monkeypatch):
    table = lay_table()
    table.change_policy("hill", quiet_hours=(NOON,))
    monkeypatch.setattr(client.steps, "datetime", Noon)
    sums, lines = table.sums()
    total = sums.over("evaluate", 1, to_arrays(build(table.study)))
    assert total.contributors == ("harbour", "lake", "mill")
    assert any("hill refused advertise: quiet" in line for line in lines)
    assert "begins nothing from 12:00-13:30" in (table.folder("hill") / "site.log").read_text()


def test_a_round_that_was_keyed_before_is_not_trained_in_quiet_hours(lay_table, monkeypatch):
    table = lay_table()
    table.change_policy("hill", quiet_hours=(NOON,))
    mornings = iter([datetime(2026, 11, 23, 11, 0)] * 4)

    class Passing(datetime):
        @classmethod
        def now(cls, tz=None):
            return next(mornings, Noon.now())

    monkeypatch.setattr(client.steps, "datetime", Passing)
    sums, lines = table.sums()
    total = sums.over("evaluate", 1, to_arrays(build(table.study)))
    assert total.contributors == ("harbour", "lake", "mill")
    assert any("hill refused mask: quiet" in line for line in lines)
