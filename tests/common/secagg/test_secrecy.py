"""What leaves a site looks uniform, and nothing secret is left after the round."""

import os
from dataclasses import replace

import numpy as np
import pytest

from common.errors import OutOfOrder, PeerMisbehaved, PrivacyError, TooFewSites
from common.secagg import states
from common.secagg.layout import layout_of
from common.secagg.masks import stream
from common.secagg.messages import Reveal, Upload, decode
from common.secagg.round import play
from common.secagg.site import Given, advance, check_mask

WORDS = 40_000


def chi_square(raw):
    """Return (χ² − 255) / √(2 · 255) over the bytes: normal for uniform bytes."""
    counts = np.bincount(np.frombuffer(raw, np.uint8), minlength=256)
    expected = len(raw) / 256
    return (((counts - expected) ** 2 / expected).sum() - 255) / np.sqrt(510)


def upload_of(table, value, seed):
    """Return what site-01 sends when every site's vector is `value` in every word."""
    layout = layout_of(4, {}, 1.0, exacts={"x": (WORDS,)})
    four = table(4, layout=layout, seed=seed)
    for name in four.names:
        four.vectors[name] = np.full(WORDS, value, np.uint64)
    seen = {}

    sites = four.sites()

    def exchange(stage, requests):
        replies = sites(stage, requests)
        seen[stage] = replies
        return replies

    four.play(exchange)
    return bytes(decode(Upload, seen["mask"]["site-01"], "site-01").vector)[: 8 * WORDS]


def test_the_stream_is_uniform():
    assert abs(chi_square(stream(os.urandom(32), 1 << 20).tobytes())) < 5


@pytest.mark.parametrize("value", [0, 1, (1 << 64) - 1, 0x0123456789ABCDEF])
def test_an_upload_is_uniform_whatever_the_plaintext(table, value):
    raw = upload_of(table, value, f"uniform {value}")
    assert abs(chi_square(raw)) < 5
    bits = np.unpackbits(np.frombuffer(raw, np.uint8))
    assert abs(bits.mean() - 0.5) * 2 * np.sqrt(bits.size) < 5
    words = np.frombuffer(raw, "<u8")
    assert len(np.unique(words)) == WORDS


def test_an_upload_is_independent_of_the_plaintext(table):
    """Under other keys nothing of an upload is kept; under one key only the difference is."""
    zeros = np.frombuffer(upload_of(table, 0, "one"), "<u8")
    others = np.frombuffer(upload_of(table, 0, "two"), "<u8")
    assert (zeros == others).mean() < 1e-3
    same_bits = np.unpackbits((zeros ^ others).view(np.uint8)).mean()
    assert abs(same_bits - 0.5) * 2 * np.sqrt(64 * WORDS) < 5
    sevens = np.frombuffer(upload_of(table, 7, "one"), "<u8")
    assert (sevens - zeros == 7).all()


def secrets_of(sites):
    """Return every secret that came up at the sites in a round that has been played."""
    found = set()
    for member in sites.members:
        state = sites.states[member]
        if isinstance(state, states.Advertised | states.Shared):
            found.add(state.channel_secret)
            found |= {secret for step in state.secrets for secret in (step.s, step.b)}
        if isinstance(state, states.Masked | states.Confirmed):
            found |= {share for held in state.held for share in (held.b, held.s)}
    return found


@pytest.mark.parametrize("gone", [frozenset(), frozenset(["site-03"])])
def test_after_the_round_no_secret_stands_in_any_state_or_record(table, suite, gone):
    five = table(5, suite)
    sites = five.sites({"mask": gone})
    secrets, crossed = set(), []

    def exchange(stage, requests):
        replies = sites(stage, requests)
        secrets.update(secrets_of(sites))
        crossed.extend([*requests.values(), *replies.values()])
        return replies

    outcome = play(five.policy, five.context, exchange)
    done = set(outcome.contributors)
    assert len(secrets) > 5 * 3
    revealed = set()
    for raw in crossed:
        if raw[4] == 10:  # Reveal
            reveal = decode(Reveal, raw, "?")
            revealed |= {one.share for one in (*reveal.b_shares, *reveal.s_shares)}
            assert not done & {one.site for one in reveal.s_shares}
            assert done >= {one.site for one in reveal.b_shares}
    for secret in secrets - revealed:
        assert not any(secret in raw for raw in crossed)
    for name in done:
        kept = states.dump(sites.states[name])
        assert isinstance(sites.states[name], states.Finished)
        assert not any(secret in kept for secret in secrets)
        assert not any(secret in vars(five.locks[name])["_keys"] for secret in secrets)


def test_nothing_secret_is_in_the_text_of_a_state(table):
    five = table(5)
    sites = five.sites()

    def exchange(stage, requests):
        replies = sites(stage, requests)
        for secret in secrets_of(sites):
            assert not any(repr(secret) in repr(state) for state in sites.states.values())
        return replies

    play(five.policy, five.context, exchange)


def test_a_stage_that_was_answered_is_not_answered_again_from_any_state(table):
    """A handler that stops anywhere leaves a state that cannot be replayed."""
    five = table(5)
    sites, me = five.sites(), "site-02"
    past = []

    def exchange(stage, requests):
        before = sites.states.get(me)
        replies = sites(stage, requests)
        past.append((stage, before, requests[me], sites.states[me]))
        given = Given(
            sites.entropy[me], five.context.config_hash, five.context.model_hash, five.vectors[me]
        )
        for name, old, request, after in past:
            for state in (old, after, sites.states[me]):
                with pytest.raises((OutOfOrder, PrivacyError)):
                    advance(sites.members[me], name, state, request, given)
        return replies

    play(five.policy, five.context, exchange)
    assert len(past) == 5


def test_the_next_message_may_reach_another_process(table, suite):
    """Each state can be stored and loaded, and the round goes on from it."""
    four = table(4, suite)
    sites = four.sites({"mask": frozenset(["site-03"])})

    def exchange(stage, requests):
        replies = sites(stage, requests)
        for name, state in sites.states.items():
            sites.states[name] = states.load(states.dump(state))
            assert sites.states[name] == state
        return replies

    outcome = play(four.policy, four.context, exchange)
    assert (outcome.words_W == four.plain_sum(outcome.contributors)).all()


@pytest.mark.parametrize("spoil", [lambda d: b"", lambda d: b"\xff" + d, lambda d: d[:-1]])
def test_a_damaged_state_is_refused(table, spoil):
    five = table(5)
    sites = five.sites({"share": frozenset(["site-00"])})
    five.play(sites)
    raw = states.dump(sites.states["site-00"])
    with pytest.raises(OutOfOrder, match="stored state"):
        states.load(spoil(raw))


def test_a_confirmed_model_is_not_summed_again(table):
    """Never two attempts on the same model hash and task; another task is another lock."""
    five = table(5)
    five.play()
    again = replace(five.context, round=2)
    with pytest.raises(TooFewSites, match="PrivacyError"):
        five.play(context=again)
    assert five.play(context=replace(again, task="evaluate")).contributors == five.names


def test_an_attempt_that_was_not_confirmed_may_be_made_again(table):
    five = table(5)
    with pytest.raises(TooFewSites, match="MASK"):
        five.play(five.sites({"mask": frozenset(five.names[:2])}))
    assert five.play(context=five.context.retry()).contributors == five.names


def test_a_mask_request_can_be_checked_before_there_is_a_vector(table):
    five = table(5)
    sites, me = five.sites(), "site-02"

    def exchange(stage, requests):
        if stage == "mask":
            member, state = sites.members[me], sites.states[me]
            with pytest.raises(PeerMisbehaved, match="another model"):
                check_mask(member, state, requests[me], model_hash=bytes(32))
            model = five.context.model_hash
            sites.states[me] = check_mask(member, state, requests[me], model_hash=model)
            assert isinstance(sites.states[me], states.Keyed)
        return sites(stage, requests)

    assert play(five.policy, five.context, exchange).contributors == five.names
