"""A site that cheats is dropped or named; the sum stays exact or the round aborts."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from common.errors import PeerMisbehaved, ProtocolError, TooFewSites
from common.secagg import coordinator as co
from common.secagg import dealing, shamir, transcript
from common.secagg.messages import (
    Advert,
    Confirmation,
    ConfirmRequest,
    Dealing,
    Refusal,
    Reveal,
    Upload,
    decode,
    encode,
)
from common.secagg.recovery import SumSpoiled

CHEAT = "site-01"


@dataclass
class Spoiled:
    """An exchange in which one site's replies to one stage are changed by `edit`."""

    sites: object
    stage: str
    edit: object
    cheats: tuple[str, ...] = (CHEAT,)
    seen: dict = field(default_factory=dict)

    def __call__(self, stage, requests):
        replies = self.sites(stage, requests)
        self.seen[stage] = (dict(requests), dict(replies))
        if stage == self.stage:
            for site in self.cheats:
                replies[site] = self.edit(replies[site], site)
        return replies


def edited(cls, change):
    return lambda reply, site: encode(change(decode(cls, reply, site)))


def flip(raw, at=-1):
    out = bytearray(raw)
    out[at] ^= 1
    return bytes(out)


def resigned(table, purpose, parts):
    """Let the cheating site sign what it changed."""

    def sign(message):
        return replace(message, signature=table.identities[CHEAT].sign(purpose, *parts(message)))

    return sign


DROPPED = {
    "advert unsigned": (
        "advertise",
        edited(Advert, lambda m: replace(m, signature=flip(m.signature))),
        "not signed",
    ),
    "advert in another's name": (
        "advertise",
        edited(Advert, lambda m: replace(m, site="site-00")),
        "in the name of 'site-00'",
    ),
    "advert with another key": (
        "advertise",
        edited(Advert, lambda m: replace(m, channel_key=flip(m.channel_key))),
        "not signed",
    ),
    "another message": (
        "advertise",
        lambda reply, site: encode(Confirmation(site, bytes(64))),
        "expected Advert, got another message",
    ),
    "truncated": ("share", lambda reply, site: reply[:-5], "malformed Dealing"),
    "something appended": ("share", lambda reply, site: reply + b"\0", "1 bytes too many"),
    "empty": ("share", lambda reply, site: b"", "expected Dealing"),
    "huge length": (
        "share",
        lambda reply, site: reply[:5] + b"\xff" * 4 + reply[9:],
        "expected at most 64 bytes",
    ),
    "dealing unsigned": (
        "share",
        edited(Dealing, lambda m: replace(m, signature=flip(m.signature))),
        "not signed",
    ),
    "tampered ciphertext": (
        "share",
        edited(
            Dealing,
            lambda m: replace(
                m,
                items=(
                    replace(m.items[0], sealed_shares=flip(m.items[0].sealed_shares)),
                    *m.items[1:],
                ),
            ),
        ),
        "not signed",
    ),
    "short vector": (
        "mask",
        edited(Upload, lambda m: replace(m, vector=m.vector[:-8])),
        "words of 64 bits",
    ),
    "upload unsigned": (
        "mask",
        edited(Upload, lambda m: replace(m, uploaded=replace(m.uploaded, signature=bytes(64)))),
        "not signed over",
    ),
    "confirmation of another list": (
        "confirm",
        edited(Confirmation, lambda m: replace(m, signature=bytes(64))),
        "not of the list",
    ),
    "reveal unsigned": (
        "unmask",
        edited(Reveal, lambda m: replace(m, signature=bytes(64))),
        "not signed",
    ),
    "refusal": (
        "mask",
        lambda reply, site: encode(Refusal(site, site, "out of memory")),
        "refused: out of memory",
    ),
}


@pytest.mark.parametrize("name", DROPPED)
def test_a_wrong_reply_is_dropped_and_its_sender_named(table, name):
    stage, edit, reason = DROPPED[name]
    five = table(5)
    outcome = five.play(Spoiled(five.sites(), stage, edit))
    assert (outcome.words_W == five.plain_sum(outcome.contributors)).all()
    assert (CHEAT in outcome.contributors) == (stage in ("confirm", "unmask"))
    assert [one.site for one in outcome.blamed] == [CHEAT]
    assert reason in outcome.blamed[0].reason


@pytest.mark.parametrize("name", DROPPED)
def test_two_wrong_replies_of_five_abort_with_both_named(table, name):
    stage, edit, reason = DROPPED[name]
    five = table(5)
    both = (CHEAT, "site-03")
    if stage == "advertise":
        both = (*both, "site-04")
    with pytest.raises(TooFewSites) as error:
        five.play(Spoiled(five.sites(), stage, edit, both))
    assert all(f"{site}: " in str(error.value) for site in both)
    assert reason.split("'")[0] in str(error.value)


@pytest.mark.parametrize("at", [0, 8 * 5 + 3, -1])
def test_a_vector_that_changed_on_its_way_is_named_and_never_summed(table, at):
    five = table(5)
    edit = edited(Upload, lambda m: replace(m, vector=flip(m.vector, at)))
    with pytest.raises(PeerMisbehaved, match="not the one whose hash it signed") as error:
        five.play(Spoiled(five.sites(), "mask", edit))
    assert error.value.peer == CHEAT


def test_two_sites_with_one_key_are_both_dropped(table):
    six = table(6)
    sites = six.sites()
    keying = six.context.keying
    opened, requests = co.open_round(six.policy, six.context, six.names)
    replies = sites("advertise", requests)
    victim, thief = (decode(Advert, replies[s], s) for s in ("site-00", CHEAT))
    copied = replace(thief, channel_key=victim.channel_key)
    signed = resigned(six, "advert", lambda m: transcript.advert_parts(keying, m))(copied)
    state, _ = co.advertised(opened, replies | {CHEAT: encode(signed)})
    assert sorted(state.adverts) == list(six.names[2:])
    assert {one.site for one in state.blamed} == {"site-00", CHEAT}


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_a_site_whose_key_nobody_can_seal_to_is_dropped_before_it_costs_the_others(table, point):
    """Points of low order: with them no secret can be agreed."""
    five = table(5)
    opened, requests = co.open_round(five.policy, five.context, five.names)
    replies = five.sites()("advertise", requests)
    parts = lambda m: transcript.advert_parts(five.context.keying, m)  # noqa: E731
    advert = replace(decode(Advert, replies[CHEAT], CHEAT), channel_key=point)
    spoiled = encode(resigned(five, "advert", parts)(advert))
    state, _ = co.advertised(opened, replies | {CHEAT: spoiled})
    assert sorted(state.adverts) == [name for name in five.names if name != CHEAT]
    assert [one.site for one in state.blamed] == [CHEAT]


def test_a_stranger_is_not_listened_to(table):
    five = table(5)
    opened, requests = co.open_round(five.policy, five.context, five.names[:4])
    replies = five.sites()("advertise", requests)
    state, _ = co.advertised(opened, replies | {"site-04": replies["site-00"]})
    assert [(b.site, b.reason) for b in state.blamed] == [
        ("site-04", "replied without being asked")
    ]


def test_a_site_outside_the_roster_cannot_be_invited(table):
    five = table(5)
    with pytest.raises(ProtocolError, match="'site-99' is not in the roster"):
        co.open_round(five.policy, five.context, [*five.names, "site-99"])


def changed_shares(field_name, change):
    """Let the cheating site sign a reveal with other shares."""

    def edit_for(table):
        def edit(reply, site):
            reveal = decode(Reveal, reply, site)
            new = replace(reveal, **{field_name: change(getattr(reveal, field_name))})
            parts = transcript.reveal_parts(table.context.digest(), new.b_shares, new.s_shares)
            signature = table.identities[site].sign("reveal", *parts)
            return encode(replace(new, signature=signature))

        return edit

    return edit_for


def first_wrong(shares):
    return (replace(shares[0], share=flip(shares[0].share)), *shares[1:])


@pytest.mark.parametrize("kind", ["b", "s"])
def test_a_wrong_share_is_left_out_and_its_sender_named(table, suite, kind):
    """Wrong share: sum still exact, sender named."""
    seven = table(7, suite)
    sites = seven.sites({"mask": frozenset(["site-06"])})
    edit = changed_shares(f"{kind}_shares", first_wrong)(seven)
    outcome = seven.play(Spoiled(sites, "unmask", edit))
    assert outcome.contributors == seven.names[:6]
    assert (outcome.words_W == seven.plain_sum(outcome.contributors)).all()
    assert [one.site for one in outcome.blamed] == [CHEAT]
    assert f"wrong share of {kind}" in outcome.blamed[0].reason


@pytest.mark.parametrize("change", [lambda s: s[1:], lambda s: s[::-1], lambda s: (*s, s[-1])])
@pytest.mark.parametrize("kind", ["b", "s"])
def test_a_reveal_of_other_sites_than_asked_is_dropped(table, kind, change):
    seven = table(7)
    sites = seven.sites({"mask": frozenset(["site-05", "site-06"])})
    edit = changed_shares(f"{kind}_shares", change)(seven)
    with pytest.raises(TooFewSites, match="5 good shares"):
        seven.play(Spoiled(sites, "unmask", edit))


def false_dealing(monkeypatch, change):
    """Let CHEAT deal something else than it advertised, with commitments that fit."""
    deal = dealing.deal

    def cheat(policy, state, adverts, r0, entropy):
        if state.advert.site == CHEAT:
            state = change(state)
        return deal(policy, state, adverts, r0, entropy)

    monkeypatch.setattr("common.secagg.stages.deal", cheat)


def other_secret(kind):
    def change(state):
        (secrets,) = state.secrets
        return replace(state, secrets=(replace(secrets, **{kind: shamir.to_bytes(7)}),))

    return change


@pytest.mark.parametrize(("kind", "stage"), [("b", "confirm"), ("s", "mask")])
def test_a_dealer_of_another_secret_is_named(table, monkeypatch, kind, stage):
    five = table(5)
    false_dealing(monkeypatch, other_secret(kind))
    with pytest.raises(PeerMisbehaved, match=f"another {kind} than") as error:
        five.play(five.sites({stage: frozenset([CHEAT])}))
    assert error.value.peer == CHEAT


def test_a_dealer_whose_item_does_not_open_is_accused_by_the_receiver(table, monkeypatch):
    five = table(5)
    sealed = dealing._sealed

    def cheat(policy, advert, to, shares, pairs):
        out = sealed(policy, advert, to, shares, pairs)
        if (to.dealer, to.holder) != (CHEAT, "site-03"):
            return out
        return flip(out[0]), out[1]

    monkeypatch.setattr(dealing, "_sealed", cheat)
    outcome = five.play()
    assert "site-03" not in outcome.contributors
    assert (outcome.words_W == five.plain_sum(outcome.contributors)).all()
    assert [one.site for one in outcome.blamed] == [CHEAT]
    assert "site-03 refused: dealt what cannot be used" in outcome.blamed[0].reason


def test_a_false_pair_key_for_a_missing_site_is_named(table, monkeypatch):
    """The lower site is there, sealed another key than it masks with, and the higher is gone."""
    five = table(5)
    sealed = dealing._sealed

    def cheat(policy, advert, to, shares, pairs):
        if to.dealer == CHEAT and to.holder == "site-04":
            pairs = [bytes(32)]
        return sealed(policy, advert, to, shares, pairs)

    monkeypatch.setattr(dealing, "_sealed", cheat)
    with pytest.raises(PeerMisbehaved, match="another pair key") as error:
        five.play(five.sites({"mask": frozenset(["site-04"])}))
    assert error.value.peer == CHEAT


def test_a_pair_key_that_does_not_open_for_a_missing_site_is_named(table, monkeypatch):
    five = table(5)
    sealed = dealing._sealed

    def cheat(policy, advert, to, shares, pairs):
        out = sealed(policy, advert, to, shares, pairs)
        return (out[0], (flip(out[1][0]),)) if to.holder == "site-04" else out

    monkeypatch.setattr(dealing, "_sealed", cheat)
    with pytest.raises(PeerMisbehaved, match="what cannot be used") as error:
        five.play(five.sites({"mask": frozenset(["site-04"])}))
    assert error.value.peer == "site-00"


def test_a_site_that_masks_with_another_key_than_it_dealt_spoils_nothing_unseen(table, monkeypatch):
    """The check word catches a mask that does not come off: the round aborts."""
    five = table(5)
    commit = dealing.Deal.commit

    def pair_key(s, keying, r0, low, high, step):
        real = transcript.derive(s, "k_uv", keying, r0, low, high, step)
        return bytes(32) if (low, high) == (CHEAT, "site-03") and pair_key.calls() else real

    calls = []
    pair_key.calls = lambda: calls.append(1) or len(calls) == 1
    monkeypatch.setattr(transcript, "pair_key", pair_key)
    assert commit is dealing.Deal.commit
    with pytest.raises(SumSpoiled, match="masked otherwise than it dealt"):
        five.play()


def test_different_models_to_different_sites_cannot_be_combined(table):
    """Keys made before the model is known; two models in MASK: the sites refuse at CONFIRM."""
    five = table(5)
    sites = five.sites()
    other_model = replace(sites, context=replace(five.context, model_hash=bytes(32)))
    opened, requests = co.open_round(five.policy, replace(five.context, model_hash=b""), five.names)
    adverted, requests = co.advertised(opened, sites("advertise", requests))
    keyed = co.shared(adverted, sites("share", requests))
    masking, requests = co.masking(keyed, 0, five.context.model_hash)
    _, twisted = co.masking(keyed, 0, bytes(32))
    replies = sites("mask", requests | {CHEAT: b""})
    replies[CHEAT] = other_model.reply("mask", CHEAT, twisted[CHEAT])
    honest, _ = co.masked(masking, replies)
    assert {b.site: b.reason for b in honest.blamed}[CHEAT].startswith("its upload is not signed")
    uploads = tuple(decode(Upload, replies[site], site).uploaded for site in five.names)
    request = encode(ConfirmRequest(masking.step.ctx, uploads))
    for site in five.names:
        refusal = decode(Refusal, sites.reply("confirm", site, request), site)
        expected = "another round" if site == CHEAT else f"the upload of {CHEAT!r} is not signed"
        assert expected in refusal.reason


def test_a_model_that_comes_late_and_differs_is_refused_at_confirm(table):
    """Keys made before the model is known: MASK brings it; two models end at CONFIRM."""
    five = table(5)
    early = replace(five.context, model_hash=b"")
    sites = five.sites(context=five.context)
    opened, requests = co.open_round(five.policy, early, five.names)
    state, requests = co.advertised(opened, sites("advertise", requests))
    keyed = co.shared(state, sites("share", requests))
    masking, requests = co.masking(keyed, 0, five.context.model_hash)
    _, twisted = co.masking(keyed, 0, bytes(32))
    replies = sites("mask", {**requests, CHEAT: twisted[CHEAT]})
    confirming, _ = co.masked(masking, replies)
    blamed = {one.site: one.reason for one in confirming.blamed}
    assert "another model" in blamed["coordinator"]
    assert CHEAT not in [one.uploaded.site for one in confirming.uploads]


def test_a_vector_of_zeros_is_as_good_as_any(table):
    five = table(5)
    for name in five.names:
        five.vectors[name] = np.zeros_like(five.vectors[name])
    assert not five.play().words_W.any()
