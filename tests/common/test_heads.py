"""Heads that a site signs and its peers countersign: nobody else's word counts."""

from dataclasses import replace

import pytest

from common.errors import LedgerError
from common.heads import (
    Countersignature,
    check_signatures,
    countersign,
    heads_from_json,
    heads_to_json,
    newest,
    sign_head,
)
from common.keys import new_identity
from common.privacy.ledger import Head
from common.secagg.roster import Roster

AT = "2026-01-01T00:00:00+00:00"
HILL, LAKE, MALLORY = (new_identity(name) for name in ("hill", "lake", "mallory"))
ROSTER = Roster({"hill": HILL.public_key, "lake": LAKE.public_key})


def head(seq=5, digest="ab" * 32, identity=HILL, ledger="l1"):
    return sign_head(identity, ledger, Head(seq, digest), AT)


def test_a_head_reads_back_with_every_signature():
    signed = countersign(LAKE, head(), None, ROSTER)
    assert heads_from_json(heads_to_json([signed])) == (signed,)
    assert check_signatures(signed, ROSTER) == ("lake",)


@pytest.mark.parametrize(
    "change", [{"seq": 6}, {"digest": "cd" * 32}, {"ledger": "l2"}, {"site": "lake"}, {"at": "now"}]
)
def test_a_changed_head_is_not_the_sites(change):
    with pytest.raises(LedgerError, match="wrong"):
        check_signatures(replace(head(), **change), ROSTER)


@pytest.mark.parametrize("signature", ["", "zz", "00" * 64, "00" * 10])
def test_a_made_up_signature_is_refused(signature):
    with pytest.raises(LedgerError, match="wrong"):
        check_signatures(replace(head(), signature=signature), ROSTER)


def test_a_countersignature_of_a_stranger_is_refused():
    stranger = Countersignature("mallory", "00" * 64)
    with pytest.raises(LedgerError, match="unknown"):
        check_signatures(replace(head(), countersignatures=(stranger,)), ROSTER)


def test_a_signature_does_not_serve_as_a_countersignature():
    one = Countersignature("hill", head().signature)
    with pytest.raises(LedgerError, match="wrong"):
        check_signatures(replace(head(), countersignatures=(one,)), ROSTER)


def test_nobody_countersigns_a_head_of_its_own_or_a_strangers():
    with pytest.raises(LedgerError, match="a peer has to"):
        countersign(HILL, head(), None, ROSTER)
    with pytest.raises(LedgerError, match="unknown"):
        countersign(LAKE, head(identity=MALLORY), None, ROSTER)


@pytest.mark.parametrize(
    "shown", [head(4), head(5, "cd" * 32), head(6, ledger="l2")], ids=["older", "other", "replaced"]
)
def test_what_contradicts_a_head_seen_before_is_not_countersigned(shown):
    with pytest.raises(LedgerError, match="put back or replaced"):
        countersign(LAKE, shown, head(), ROSTER)


def test_the_same_head_and_a_later_one_are_countersigned_once_each():
    for shown in (head(), head(9, "ef" * 32)):
        signed = countersign(LAKE, countersign(LAKE, shown, head(), ROSTER), head(), ROSTER)
        assert [one.site for one in signed.countersignatures] == ["lake"]


def test_the_newest_head_of_each_site_is_kept():
    assert newest([head(5), head(9), head(7)])["hill"].seq == 9


@pytest.mark.parametrize("seq", [-1, True, 1.5, '"5"', 1 << 70])
def test_a_number_that_no_ledger_has_is_refused(seq):
    text = heads_to_json([head()]).replace('"seq": 5', f'"seq": {str(seq).lower()}')
    with pytest.raises((ValueError, TypeError)):
        heads_from_json(text)
