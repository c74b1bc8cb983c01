"""A round with too few sites waits and is made again; no site is charged more than once more."""

import pytest
from flwr.app import Context, Message

from client.app import app as client_app
from common.errors import TooFewSites
from common.models.registry import build
from common.parameters import to_arrays
from common.privacy.ledger import read_ledger
from common.wire import MESSAGE_TYPES
from server.quorum import Quorum


def failing(table, stage, times):
    """The sites' app, but lake and mill fail in a stage the first times."""
    left = {"lake": times, "mill": times}

    def app(message: Message, context: Context) -> Message:
        site = table.site_of(context)
        if message.metadata.message_type == MESSAGE_TYPES[stage] and left.get(site, 0) > 0:
            left[site] -= 1
            raise RuntimeError
        return client_app(message, context)

    return app


@pytest.fixture
def played(lay_table):
    """One sum with a quorum that waits in no time; the sites' charges, and what was logged."""

    def play(stage, times):
        table = lay_table()
        sums, lines = table.sums(table.grid(failing(table, stage, times)))
        time = iter(range(10_000))
        clock = {"clock": lambda: next(time) / 10, "sleep": lambda _s: None}
        there = sums.exchange.meeting.there
        sums._quorum = Quorum(there, table.sites, 3, lines.append, wait_s=30, **clock)
        try:
            said = sums.over("evaluate", 1, to_arrays(build(table.study))).contributors
        except TooFewSites as error:
            said = str(error)
        path = table.folder("hill") / "ledger.sqlite"
        changes = read_ledger(path).changes if path.exists() else ()
        return said, len({one.reservation.seq for one in changes}), lines

    return play


@pytest.mark.parametrize(("stage", "charges"), [("advertise", 1), ("share", 1), ("confirm", 2)])
def test_sites_that_come_back_are_in_the_next_attempt(played, stage, charges):
    said, charged, lines = played(stage, 1)
    assert said == ("harbour", "hill", "lake", "mill")
    assert charged == charges
    assert any(line.startswith("waits for sites: ") for line in lines)


def test_a_sum_that_broke_off_at_confirm_is_made_again_over_the_very_same_sites(lay_table):
    """One site missed MASK and is back: with it, the others would refuse; it is left out once."""
    table, kinds = lay_table(), []

    def app(message: Message, context: Context) -> Message:
        site, kind = table.site_of(context), message.metadata.message_type
        is_first = kinds.count((site, kind)) == 0
        kinds.append((site, kind))
        lost = {"hill": MESSAGE_TYPES["mask"], "lake": MESSAGE_TYPES["confirm"]}
        if is_first and lost.get(site) == kind:
            raise RuntimeError
        return client_app(message, context)

    sums, lines = table.sums(table.grid(app))
    clock = {"clock": lambda: 0.0, "sleep": lambda _s: None}
    sums._quorum = Quorum(sums.exchange.meeting.there, table.sites, 3, lines.append, **clock)
    model = to_arrays(build(table.study))
    total = sums.over("train", 1, model, 2)
    assert total.contributors == ("harbour", "lake", "mill")
    assert total.missing == ("hill",)
    other = {name: value + 1 for name, value in model.items()}
    assert sums.over("train", 2, other, 2).contributors == table.sites


def test_one_of_the_very_same_sites_that_is_lost_again_is_waited_for_uncharged(lay_table):
    """Without it the others would refuse to confirm, and the run would end with their refusal."""
    table, kinds = lay_table(), []

    def app(message: Message, context: Context) -> Message:
        site, kind = table.site_of(context), message.metadata.message_type
        kinds.append((site, kind))
        times = kinds.count((site, kind))
        if kind == MESSAGE_TYPES["confirm"] and site in ("lake", "mill") and times == 1:
            raise RuntimeError
        if kind == MESSAGE_TYPES["share"] and site == "lake" and times == 2:
            raise RuntimeError
        return client_app(message, context)

    sums, lines = table.sums(table.grid(app))
    clock = {"clock": lambda: 0.0, "sleep": lambda _s: None}
    sums._quorum = Quorum(sums.exchange.meeting.there, table.sites, 3, lines.append, **clock)
    total = sums.over("train", 1, to_arrays(build(table.study)), 2)
    assert total.contributors == table.sites
    assert [line for line in lines if "can be made over these only; lake did not answer" in line]
    assert kinds.count(("hill", MESSAGE_TYPES["mask"])) == 2
    assert not [line for line in lines if "refused" in line]


def test_a_round_is_charged_twice_and_no_more(played):
    said, charged, _ = played("confirm", 9)
    assert "CONFIRM" in said
    assert charged == 2


def test_sites_that_stay_away_end_the_run_uncharged_and_by_name(played):
    said, charged, _ = played("advertise", 999)
    assert "4 of 4 sites are there" in said
    assert "ADVERTISE: expected 3 sites, 2 are left" in said
    assert charged == 0
