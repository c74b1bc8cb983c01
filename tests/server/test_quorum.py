"""A round waits for sites, then stops and names who is missing; time is the test's own."""

import pytest

from common.errors import TooFewSites
from server.quorum import Quorum

ROSTER = ("harbour", "hill", "lake", "mill")


class Clock:
    """Time that passes only when somebody sleeps; sites come at given moments."""

    def __init__(self, comes):
        self.time, self.comes = 100.0, comes

    def sleep(self, seconds):
        self.time += seconds

    def there(self):
        return tuple(site for site in ROSTER if self.comes.get(site, 1e9) <= self.time - 100.0)


def quorum(clock):
    lines = []
    time = {"clock": lambda: clock.time, "sleep": clock.sleep}
    made = Quorum(clock.there, ROSTER, 3, lines.append, wait_s=30.0, grace_s=10.0, **time)
    return made, lines


def test_all_there_start_at_once():
    clock = Clock(dict.fromkeys(ROSTER, 0))
    made, lines = quorum(clock)
    assert made.gather() == ROSTER
    assert (clock.time, lines) == (100.0, [])


def test_the_rest_is_waited_for_a_while_and_no_longer():
    clock = Clock({"harbour": 0, "hill": 0, "lake": 0, "mill": 25})
    made, lines = quorum(clock)
    assert made.gather() == ("harbour", "hill", "lake")
    assert clock.time == pytest.approx(110, abs=0.5)
    assert "without mill" in lines[0]


def test_a_site_that_comes_within_the_grace_is_in():
    made, _ = quorum(Clock({"harbour": 0, "hill": 0, "lake": 0, "mill": 9}))
    assert made.gather() == ROSTER


def test_too_few_are_waited_for_longer():
    clock = Clock({"harbour": 0, "hill": 0, "lake": 25})
    made, _ = quorum(clock)
    assert made.gather() == ("harbour", "hill", "lake")
    assert clock.time == pytest.approx(125, abs=0.5)


def test_too_few_for_too_long_end_the_run_and_are_named():
    made, _ = quorum(Clock({"harbour": 0, "hill": 0}))
    with pytest.raises(TooFewSites, match=r"2 of 4 sites are there after 30 s.*lake, mill"):
        made.gather()


def test_a_round_is_tried_again_once_enough_are_back():
    clock = Clock({"harbour": 0, "hill": 0, "lake": 20})
    made, lines = quorum(clock)
    made.again(TooFewSites("MASK: two are left"), made.now())
    assert clock.time == pytest.approx(120, abs=0.5)
    assert lines == ["waits for sites: MASK: two are left"]


def test_a_sum_that_broke_off_waits_for_each_of_its_sites_and_names_who_stays_away():
    clock = Clock({"harbour": 0, "hill": 12})
    made, _ = quorum(clock)
    made.all_of(("harbour", "hill"))
    assert clock.time == pytest.approx(112, abs=0.5)
    with pytest.raises(TooFewSites, match="over these only, and mill did not come in 30 s"):
        made.all_of(("harbour", "mill"))


def test_a_round_that_stays_short_of_sites_stops_with_names_and_its_reason():
    clock = Clock({"harbour": 0, "hill": 0})
    made, _ = quorum(clock)
    with pytest.raises(TooFewSites, match=r"Missing: lake, mill.*MASK: two are left"):
        made.again(TooFewSites("MASK: two are left"), made.now())
    assert clock.time == pytest.approx(130, abs=0.5)
