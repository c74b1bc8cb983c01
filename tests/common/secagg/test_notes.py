"""Notes travel signed, are kept before they are countersigned, and hold a peer to what was kept."""

import hashlib
from dataclasses import replace

import pytest

from common.errors import LedgerError, ProtocolError, TooFewSites
from common.heads import heads_from_json, heads_to_json, newest
from common.privacy.ledger import Head
from common.secagg import coordinator as co
from common.secagg.messages import Advert, decode, encode
from common.secagg.roster import NoNotes
from common.secagg.round import key, sum_up
from common.witness import Witness, head_of, note_of, why_not


def head(site, seq):
    return note_of(Head(seq, hashlib.sha256(f"{site} {seq}".encode()).hexdigest()))


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (None, head("a", 0), ""),
        (head("a", 3), head("a", 3), ""),
        (head("a", 3), head("a", 4), ""),
        (head("a", 3), head("a", 2), "its ledger went back: it ends at entry 2, entry 3 was seen"),
        (head("a", 3), head("b", 3), "its ledger contradicts itself"),
        (head("a", 3), None, "shows no head"),
        (None, None, "shows no head"),
        (None, b"\x00" * 39, "shows no head"),
    ],
)
def test_what_may_follow_a_head(before, after, why):
    found = why_not(before, after)
    assert found.startswith(why)
    assert bool(found) == bool(why)


def test_a_head_and_its_note_are_the_same():
    there = Head(2**40 + 3, "ab" * 32)
    assert head_of(note_of(there)) == there
    assert len(note_of(there)) == 40


def test_notes_of_share_and_mask_are_kept_by_all_who_answer(table):
    four = table(4)
    sites = four.sites({"confirm": frozenset(["site-03"])})

    def exchange(stage, requests):
        if stage == "mask":  # the ledgers are charged before the vector is made
            for name in four.names:
                four.notes[name].own = head(name, 6)
        return sites(stage, requests)

    outcome = four.play(exchange)
    after = {name: head(name, 6) for name in four.names}
    for name in ("site-00", "site-01", "site-02"):
        assert four.notes[name].of_peers == after
    assert {one.site: one.note for one in outcome.signed.uploads} == after
    assert [one.site for one in outcome.signed.confirmations] == ["site-00", "site-01", "site-02"]
    earlier = four.notes["site-03"].of_peers
    assert {site: head_of(note).seq for site, note in earlier.items()} == dict.fromkeys(after, 5)


def test_heads_that_moved_on_in_another_run_meanwhile_are_no_offence(table):
    four = table(4)
    sites = four.sites()

    def exchange(stage, requests):
        if stage == "share":
            for name in four.names:
                four.notes[name].keep({other: head(other, 9) for other in four.names})
        return sites(stage, requests)

    assert four.play(exchange).blamed == ()


def test_a_peer_that_went_back_is_accused_by_all_others(table):
    five = table(5)
    sites = five.sites()
    five.notes["site-04"].own = head("site-04", 2)
    with pytest.raises(TooFewSites) as error:
        key(five.policy, five.context, sites)
    for accuser in ("site-00", "site-01", "site-02", "site-03"):
        assert f"site-04: {accuser} refused: its ledger went back" in str(error.value)


def test_the_coordinator_drops_a_site_by_its_note_and_goes_on(table):
    five = table(5)
    sites = five.sites()
    five.notes["site-04"].own = head("site-04", 2)

    def follows(site, note):
        return why_not(head(site, 3), note)

    keyed = key(five.policy, five.context, sites, follows)
    outcome = sum_up(keyed, 0, five.context.model_hash, sites)
    assert outcome.contributors == five.names[:4]
    said = "its ledger went back: it ends at entry 2, entry 3 was seen"
    assert [(one.site, one.reason) for one in outcome.blamed] == [("site-04", said)]


def swapped(four, site, sites):
    """An exchange in which a site's ledger is an older copy while it is charged for its vector."""

    def exchange(stage, requests):
        if stage == "mask":
            for name in four.names:
                four.notes[name].own = head(name, 3 if name == site else 6)
        return sites(stage, requests)

    return exchange


def test_an_older_ledger_put_in_between_keys_and_vector_is_refused_by_every_peer(table):
    four = table(4)
    with pytest.raises(TooFewSites) as error:
        four.play(swapped(four, "site-03", four.sites()))
    said = "refused: its ledger went back: it ends at entry 3, entry 5 was seen"
    for accuser in ("site-00", "site-01", "site-02"):
        assert f"site-03: {accuser} {said}" in str(error.value)


def test_the_coordinator_drops_a_site_whose_ledger_went_back_between_keys_and_vector(table):
    five, shown = table(5), {}
    sites = five.sites()

    def follows(site, note):
        why = why_not(shown.get(site), note)
        if not why:
            shown[site] = note
        return why

    exchange = swapped(five, "site-04", sites)
    keyed = key(five.policy, five.context, exchange, follows)
    outcome = sum_up(keyed, 0, five.context.model_hash, exchange, follows)
    assert outcome.contributors == five.names[:4]
    assert [one.site for one in outcome.blamed] == ["site-04"]


def test_a_site_may_publish_nothing_where_nobody_asks(table):
    """The protocol itself asks for no notes; the sites' own Notes do."""
    four = table(4)
    sites = four.sites()
    members = {n: replace(m, notes=NoNotes()) for n, m in sites.members.items()}
    outcome = four.play(replace(sites, members=members))
    assert {one.note for one in outcome.signed.uploads} == {None}
    assert Witness(outcome.signed).heads() == ()


@pytest.mark.parametrize("size", [0, 1, 39, 41])
def test_a_note_has_one_length(table, size):
    four = table(4)
    advert = decode(Advert, four.sites().reply("advertise", "site-00", advertise(four)), "site-00")
    with pytest.raises(ProtocolError, match="expected 40 bytes"):
        encode(replace(advert, note=b"x" * size))


def test_an_advert_without_a_note_differs_from_one_with(table):
    four = table(4)
    reply = four.sites().reply("advertise", "site-00", advertise(four))
    advert = decode(Advert, reply, "site-00")
    keying, roster = four.context.keying, four.policy.roster
    for note in (None, head("site-00", 6)):
        parts = co.transcript.advert_parts(keying, replace(advert, note=note))
        assert not roster.signed("site-00", advert.signature, "advert", *parts)


def advertise(four):
    return co.open_round(four.policy, four.context, four.names)[1]["site-00"]


def test_evidence_survives_its_file_and_names_who_countersigned(table):
    four = table(4)
    outcome = four.play()
    heads = heads_from_json(heads_to_json(Witness(outcome.signed).heads()))
    assert sorted(newest(heads)) == list(four.names)
    for one in heads:
        assert one.witness.signers(four.policy.roster) == four.names
        assert one.head == head_of(head(one.site, 5))


@pytest.mark.parametrize("what", ["uploads", "confirmations", "ctx", "r1"])
def test_evidence_that_was_changed_proves_nothing(table, what):
    four = table(4)
    signed = four.play().signed
    if what in ("ctx", "r1"):
        wrong = replace(signed, **{what: bytes(32)})
    elif what == "uploads":
        first, *others = signed.uploads
        wrong = replace(signed, uploads=(replace(first, note=head("site-00", 6)), *others))
    else:
        first, *others = signed.confirmations
        wrong = replace(signed, confirmations=(replace(first, site="site-01"), *others))
    with pytest.raises(LedgerError):
        Witness(wrong).signers(four.policy.roster)
