"""What a site of a sparse graph asks of its own neighbours, and of steps that were keyed before."""

from dataclasses import replace

import pytest

from common.secagg import coordinator as co
from common.secagg.checks import series
from common.secagg.messages import MaskRequest, Refusal, ShareRequest, decode, encode
from common.secagg.round import key, sum_up

ME = "site-10"


@pytest.fixture
def many(table, monkeypatch):
    """30 sites, each with 8 neighbours, of which 5 must be left."""
    monkeypatch.setattr("common.secagg.roster.COMPLETE_SITES", 20)
    monkeypatch.setattr("common.secagg.graph.CHEATING", {100: (8, 5)})
    return table(30)


def refusal(sites, stage, site, request):
    return decode(Refusal, sites.reply(stage, site, request), site).reason


def cut_off(many):
    """All names but five of a site's neighbours: enough sites, and too few around it."""
    around = [name for name in many.policy.graph.neighbours[ME] if name != ME]
    return set(many.names) - set(around[:5])


def test_keys_are_dealt_to_no_crowd_that_leaves_a_site_too_few_neighbours(many):
    sites, kept = many.sites(), cut_off(many)
    opened, requests = co.open_round(many.policy, many.context, many.names)
    _, requests = co.advertised(opened, sites("advertise", requests))
    asked = decode(ShareRequest, requests[ME], "coordinator")
    few = tuple(advert for advert in asked.adverts if advert.site in kept)
    assert "SHARE, neighbours: expected at least 5 sites, got 4" in refusal(
        sites, "share", ME, encode(replace(asked, adverts=few))
    )


def test_no_vector_is_masked_against_too_few_neighbours(many):
    sites, kept = many.sites(), cut_off(many)
    _, requests = co.masking(key(many.policy, many.context, sites), 0, many.context.model_hash)
    asked = decode(MaskRequest, requests[ME], "coordinator")
    few = replace(
        asked,
        sharers=tuple(one for one in asked.sharers if one.site in kept),
        dealt=tuple(one for one in asked.dealt if one.site in kept),
    )
    assert "MASK, neighbours: expected at least 5 sites, got 4" in refusal(
        sites, "mask", ME, encode(few)
    )


def test_a_later_step_belongs_to_the_keys_that_were_made(table):
    four = table(4, steps=2)
    sites = four.sites()
    keyed = key(four.policy, four.context, sites)
    sum_up(keyed, 0, four.context.model_hash, sites)
    _, requests = co.masking(keyed, 1, four.context.model_hash)
    asked = decode(MaskRequest, requests["site-00"], "coordinator")
    assert "another round, attempt" in refusal(
        sites, "mask", "site-00", encode(replace(asked, keying=bytes(32)))
    )


def test_the_round_of_a_step_counts_as_begun_when_its_vector_leaves(table):
    four = table(4, steps=3)
    early = replace(four.context, model_hash=b"")
    sites = four.sites(context=early)
    sites.models = {early.round + i: bytes([i]) * 32 for i in range(3)}
    keyed = key(four.policy, early, sites)
    for step in range(3):
        sum_up(keyed, step, sites.models[early.round + step], sites)
        newest = four.locks["site-00"].newest(series(early))
        assert newest == (early.round + step, early.attempt)
