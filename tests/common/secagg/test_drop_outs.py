"""The sum equals the plaintext sum for every drop-out schedule, or the round aborts cleanly."""

import itertools
import random

import numpy as np
import pytest

from common.errors import TooFewSites
from common.secagg import coordinator as co
from common.secagg.graph import majority

STAGES = ("advertise", "share", "mask", "confirm", "unmask")


def step(stage, state, replies):
    """One stage of the coordinator: (next state, requests); requests are {} at the end."""
    if stage == "advertise":
        return co.advertised(state, replies)
    if stage == "share":
        return co.masking(co.shared(state, replies))
    if stage == "mask":
        return co.masked(state, replies)
    if stage == "confirm":
        return co.confirmed(state, replies)
    return co.unmasked(state, replies), {}


def explore(table, stage, state, requests, sites, seen):
    """Play every way in which sites drop out from this stage on; count what came of each."""
    name = STAGES[stage]
    replies = sites(name, requests)
    for size in range(len(replies) + 1):
        for gone in itertools.combinations(sorted(replies), size):
            left = {site: reply for site, reply in replies.items() if site not in gone}
            try:
                new, asked = step(name, state, left)
            except TooFewSites:
                seen["aborted"] += 1
                continue
            if name == "unmask":
                assert (new.words_W == table.plain_sum(new.contributors)).all()
                assert new.blamed == ()
                seen["exact"] += 1
            else:
                explore(table, stage + 1, new, asked, table.fork(sites), seen)


def test_every_schedule_at_four_sites_is_exact_or_a_clean_abort(table, suite):
    four = table(4, suite)
    seen = {"exact": 0, "aborted": 0}
    opened, requests = co.open_round(four.policy, four.context, four.names)
    explore(four, 0, opened, requests, four.sites(), seen)
    # t = 3: nobody is lost, or one of four at any of the five stages
    assert seen["exact"] == 1 + 5 * 4
    assert seen["aborted"] > 40


@pytest.mark.parametrize("n", [3, 4, 5, 7, 10])
def test_as_many_drop_out_as_the_threshold_allows(table, n):
    may_go = n - majority(n)
    for stage in STAGES:
        at = table(n, seed=f"{n}/{stage}")
        gone = frozenset(at.names[:may_go])
        outcome = at.play(at.sites({stage: gone}))
        assert (outcome.words_W == at.plain_sum(outcome.contributors)).all()
        kept = set(at.names) - (gone if stage in STAGES[:3] else set())
        assert set(outcome.contributors) == kept


@pytest.mark.parametrize("stage", STAGES[1:])
def test_one_drop_out_too_many_aborts(table, stage):
    seven = table(7)
    gone = frozenset(seven.names[: 7 - majority(7) + 1])
    with pytest.raises(TooFewSites, match=stage.upper()):
        seven.play(seven.sites({stage: gone}))


def sampled(table, suite, n, seed):
    """Play a schedule drawn at random; return whether a sum came of it."""
    draw = random.Random(f"{n}/{seed}")
    at = table(n, suite, seed=f"{n}/{seed}")
    absent = {stage: set() for stage in STAGES}
    for name in at.names:
        stage = draw.choice((*STAGES, *["never"] * (2 * n)))
        if stage in absent:
            absent[stage].add(name)
    try:
        outcome = at.play(at.sites({stage: frozenset(gone) for stage, gone in absent.items()}))
    except TooFewSites:
        return False
    assert (outcome.words_W == at.plain_sum(outcome.contributors)).all()
    assert outcome.blamed == ()
    return True


def test_sampled_schedules(table, suite):
    exact = [sampled(table, suite, n, seed) for n in range(5, 13) for seed in range(2)]
    assert any(exact)


@pytest.mark.slow
def test_many_sampled_schedules_up_to_twelve_sites(table, suite):
    exact = [sampled(table, suite, n, seed) for n in range(5, 13) for seed in range(40)]
    assert np.mean(exact) > 0.3


def test_three_sites_tolerate_no_drop_out(table):
    """n = 3 tolerates no drop-out: say so."""
    for stage in STAGES:
        three = table(3, seed=stage)
        with pytest.raises(TooFewSites):
            three.play(three.sites({stage: frozenset(["site-01"])}))


def test_a_late_site_can_join_the_next_round(table):
    five = table(5)
    sites = five.sites({"mask": frozenset(["site-02"])})
    assert "site-02" not in five.play(sites).contributors
    again = five.next_round(model_hash=bytes(32))
    assert five.play(five.sites(context=again), again).contributors == five.names
