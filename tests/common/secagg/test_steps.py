"""Several rounds keyed at once, keys that ride on the round before, and the sparse graph."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from common.errors import OutOfOrder, TooFewSites
from common.secagg import states, transcript
from common.secagg.layout import layout_of
from common.secagg.messages import Reveal, decode
from common.secagg.riding import Riding, join, part
from common.secagg.round import key, play_steady, sum_up
from common.secagg.site import Given, advance


def model(i):
    return hashlib.sha256(b"model %d" % i).digest()


def test_several_rounds_are_keyed_at_once(table, suite):
    five = table(5, suite, steps=3)
    early = replace(five.context, model_hash=b"")
    sites = five.sites(context=early)
    sites.models = {1 + i: model(i) for i in range(3)}
    keyed = key(five.policy, early, sites)
    for i in range(3):
        sites.gone = {five.names[i]}
        outcome = sum_up(keyed, i, model(i), sites)
        assert outcome.contributors == tuple(n for n in five.names if n != five.names[i])
        assert (outcome.words_W == five.plain_sum(outcome.contributors)).all()
    finished = [type(state) for state in sites.states.values()]
    assert finished.count(states.Finished) == 4


def test_what_one_step_reveals_opens_no_other(table):
    """Per-step b and s: no share that is revealed in one step is one of another step's."""
    five = table(5, steps=2)
    early = replace(five.context, model_hash=b"")
    sites = five.sites(context=early)
    sites.models = {1: model(0), 2: model(1)}
    keyed = key(five.policy, early, sites)
    later = set()
    revealed = []

    def exchange(stage, requests):
        replies = sites(stage, requests)
        if stage == "mask":
            for state in sites.states.values():
                for step in getattr(state.rest, "steps", ()):
                    later.update({step.b, *(h.b for h in step.held), *(h.s for h in step.held)})
        if stage == "unmask":
            for site, raw in replies.items():
                reveal = decode(Reveal, raw, site)
                revealed.extend(one.share for one in (*reveal.b_shares, *reveal.s_shares))
        return replies

    sum_up(keyed, 0, model(0), exchange)
    assert len(later) == 5 + 2 * 25
    assert len(revealed) == 25
    assert not later & set(revealed)


def test_a_step_is_not_masked_twice_nor_out_of_order(table):
    five = table(5, steps=3)
    early = replace(five.context, model_hash=b"")
    sites = five.sites(context=early)
    sites.models = {1 + i: model(i) for i in range(3)}
    keyed = key(five.policy, early, sites)
    asked = {}

    def exchange(stage, requests):
        asked.setdefault(stage, dict(requests))
        return sites(stage, requests)

    sum_up(keyed, 0, model(0), exchange)
    sum_up(keyed, 2, model(2), sites)
    me = five.names[0]
    for step in (0, 1):
        with pytest.raises(TooFewSites, match="state Finished takes 'advertise'"):
            sum_up(keyed, step, model(step), sites)
    given = Given(bytes, five.context.config_hash, model(0), five.vectors[me])
    with pytest.raises(OutOfOrder):
        advance(sites.members[me], "mask", sites.states[me], asked["mask"][me], given)


def test_a_site_lost_at_any_stage_of_one_step_is_back_in_the_next(table):
    for stage in ("mask", "confirm", "unmask"):
        five = table(5, steps=2, seed=stage)
        early = replace(five.context, model_hash=b"")
        sites = five.sites(context=early)
        sites.models = {1: model(0), 2: model(1)}
        keyed = key(five.policy, early, sites)

        def exchange(name, requests, lost=stage, sites=sites):
            replies = sites(name, requests)
            if name == lost:
                del replies["site-02"]
            return replies

        sum_up(keyed, 0, model(0), exchange)
        assert sum_up(keyed, 1, model(1), sites).contributors == five.names


def test_a_steady_round_costs_three_trips(table, suite):
    five = table(5, suite)
    contexts = [replace(five.context, round=1 + i, model_hash=model(i)) for i in range(4)]
    sites = five.sites()
    sites.models = {1 + i: model(i) for i in range(4)}
    trips = []

    def exchange(stage, requests):
        trips.append(stage)
        return sites(stage, requests)

    for outcome in play_steady(five.policy, contexts, exchange):
        assert outcome.contributors == five.names
        assert outcome.blamed == ()
        assert (outcome.words_W == five.plain_sum(five.names)).all()
    steady = ["mask", "confirm+advertise", "unmask+share"]
    assert trips == ["advertise", "share", *steady * 3, "mask", "confirm", "unmask"]


def test_a_site_lost_in_a_steady_round_is_back_in_the_next_but_one(table):
    five = table(5)
    contexts = [replace(five.context, round=1 + i, model_hash=model(i)) for i in range(3)]
    sites = five.sites()
    sites.models = {1 + i: model(i) for i in range(3)}
    turn = []

    def exchange(stage, requests):
        turn.append(stage)
        sites.gone = {"site-02"} if turn.count("mask") == 1 and stage == "mask" else set()
        return sites(stage, requests)

    took_part = [one.contributors for one in play_steady(five.policy, contexts, exchange)]
    without = tuple(name for name in five.names if name != "site-02")
    assert took_part == [without, five.names, five.names]


def test_a_refused_half_leaves_the_other_half(table):
    """A replayed ADVERTISE is refused while the CONFIRM that it rides on is answered."""
    five = table(5)
    again = replace(five.context, model_hash=model(0))
    sites = five.sites()
    sites.models = {1: model(0)}
    trips = []

    def exchange(stage, requests):
        trips.append(stage)
        return sites(stage, requests)

    rounds = play_steady(five.policy, [again, again], exchange)
    assert next(rounds).contributors == five.names
    assert trips == ["advertise", "share", "mask", "confirm+advertise", "unmask"]
    assert all(isinstance(state, states.Finished) for state in sites.states.values())
    sites.gone.add("site-02")  # the same round again, but not over the very same sites
    with pytest.raises(TooFewSites, match="PrivacyError"):
        next(rounds)


@pytest.mark.parametrize("stage", ["confirm+advertise", "unmask+share"])
def test_riding_that_fails_costs_two_trips_and_no_sum(table, stage):
    """The halves of the next round are lost from too many sites; those of this round are not."""
    five = table(5)
    contexts = [replace(five.context, round=1 + i, model_hash=model(i)) for i in range(3)]
    sites = five.sites()
    sites.models = {1 + i: model(i) for i in range(3)}
    trips, lost = [], []

    def exchange(name, requests):
        trips.append(name)
        replies = sites(name, requests)
        if name == stage and not lost:
            lost.extend(list(five.names)[:3])
            ends, begins = part(replies)
            replies = join(ends, {k: v for k, v in begins.items() if k not in lost})
        return replies

    for outcome in play_steady(five.policy, contexts, exchange):
        assert outcome.contributors == five.names
        assert (outcome.words_W == five.plain_sum(five.names)).all()
    failed = ["mask", "confirm+advertise", "unmask+share" if stage != trips[3] else "unmask"]
    steady = ["mask", "confirm+advertise", "unmask+share"]
    keying = ["advertise", "share"]
    assert trips == [*keying, *failed, *keying, *steady, "mask", "confirm", "unmask"]


@pytest.mark.parametrize("stage", ["confirm+advertise", "unmask+share"])
def test_a_site_that_is_lost_while_keys_ride_misses_those_keys_alone(table, stage):
    five = table(5)
    contexts = [replace(five.context, round=1 + i, model_hash=model(i)) for i in range(3)]
    sites = five.sites()
    sites.models = {1 + i: model(i) for i in range(3)}
    turn = []

    def exchange(name, requests):
        turn.append(name)
        first = turn.count(name) == 1 and name == stage
        sites.gone = {"site-02"} if first else set()
        return sites(name, requests)

    rounds = play_steady(five.policy, contexts, exchange)
    without = tuple(name for name in five.names if name != "site-02")
    assert [one.contributors for one in rounds] == [five.names, without, five.names]


def test_a_site_that_rode_keeps_no_secret_of_the_round_that_ended(table):
    five = table(5)
    contexts = [replace(five.context, round=1 + i, model_hash=model(i)) for i in range(2)]
    sites = five.sites()
    sites.models = {1: model(0), 2: model(1)}
    next(play_steady(five.policy, contexts, sites))
    for site, state in sites.states.items():
        assert isinstance(state, states.Shared)
        assert state.context.round == 2
        assert sites.riding[site] == Riding(state)


@pytest.mark.slow
def test_beyond_128_sites_a_sparse_graph_sums_exactly_with_drop_outs(table):
    layout = layout_of(140, {"w": (30,)}, 1.0)
    many = table(140, layout=layout)
    gone = frozenset(many.names[3::12])
    outcome = many.play(many.sites({"mask": gone}))
    assert set(outcome.contributors) == set(many.names) - gone
    assert (outcome.words_W == many.plain_sum(outcome.contributors)).all()


def test_a_sparse_graph_sums_exactly_with_drop_outs(table, monkeypatch):
    """The same code with a smaller table: 30 sites, 8 neighbours, threshold 5."""
    monkeypatch.setattr("common.secagg.roster.COMPLETE_SITES", 20)
    monkeypatch.setattr("common.secagg.graph.CHEATING", {100: (8, 5)})
    many = table(30)
    gone = frozenset(many.names[::10])
    outcome = many.play(many.sites({"mask": gone}))
    assert set(outcome.contributors) == set(many.names) - gone
    assert (outcome.words_W == many.plain_sum(outcome.contributors)).all()
    assert "regular" in many.policy.graph.rule


def test_a_sparse_graph_with_too_few_neighbours_left_aborts(table, monkeypatch):
    monkeypatch.setattr("common.secagg.roster.COMPLETE_SITES", 20)
    monkeypatch.setattr("common.secagg.graph.CHEATING", {100: (8, 5)})
    many = table(30)
    around = many.policy.graph.neighbours["site-10"]
    gone = frozenset([name for name in around if name != "site-10"][:5])
    with pytest.raises(TooFewSites):
        many.play(many.sites({"share": gone}))


def test_the_words_of_a_layout_are_what_travels(table):
    five = table(5)
    assert five.plain_sum(five.names).dtype == np.uint64


def test_a_broken_sum_is_the_same_only_in_its_run_round_configuration_and_sites(table):
    context, sites = table(4).context, ("a", "b", "c")
    lock = transcript.sum_lock(context, 0, model(0), sites)
    assert transcript.sum_lock(context.retry(), 0, model(0), sites) == lock
    others = (
        transcript.sum_lock(replace(context, run="another"), 0, model(0), sites),
        transcript.sum_lock(replace(context, config_hash=bytes(32)), 0, model(0), sites),
        transcript.sum_lock(context, 1, model(0), sites),
        transcript.sum_lock(context, 0, bytes(32), sites),
        transcript.sum_lock(context, 0, model(0), sites[:2]),
        transcript.sum_lock(context, 0, model(0)),
    )
    assert len({lock, *others}) == 1 + len(others)
