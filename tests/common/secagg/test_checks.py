"""Each check of a site refuses what it is there for, and nothing else does.

A case plays an honest round up to one stage, changes what reaches one site, and expects an
error. The same case is then played with the check taken out: the refusal must be gone.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from common.errors import OutOfOrder, PeerMisbehaved, PolicyRefused, PrivacyError, TooFewSites
from common.privacy.ledger import Head
from common.secagg import checks, states, transcript
from common.secagg import coordinator as co
from common.secagg.messages import (
    AdvertiseRequest,
    ConfirmRequest,
    MaskRequest,
    ShareRequest,
    UnmaskRequest,
    decode,
    encode,
)
from common.secagg.site import Given, advance
from common.witness import note_of

TYPES = {
    "advertise": AdvertiseRequest,
    "share": ShareRequest,
    "mask": MaskRequest,
    "confirm": ConfirmRequest,
    "unmask": UnmaskRequest,
}
ME = "site-02"


@dataclass
class At:
    """One site just before a stage: what an honest coordinator would send it."""

    table: object
    sites: object
    request: object
    given: Given
    reply: bytes = b""

    @property
    def locks(self):
        return self.sites.members[ME].locks

    def sign(self, site, purpose, *parts):
        return self.table.identities[site].sign(purpose, *parts)


def reach(table, stage, n=5):
    """Play honestly until `stage` is asked of ME."""
    at = table(n)
    sites = at.sites()
    state, requests = co.open_round(at.policy, at.context, at.names)
    for name in ("advertise", "share", "mask", "confirm", "unmask"):
        if name == stage:
            break
        replies = sites(name, requests)
        if name == "share":
            state, requests = co.masking(co.shared(state, replies))
        else:
            step = {"advertise": co.advertised, "mask": co.masked, "confirm": co.confirmed}[name]
            state, requests = step(state, replies)
    given = Given(sites.entropy[ME], at.context.config_hash, at.context.model_hash, at.vectors[ME])
    return At(at, sites, decode(TYPES[stage], requests[ME], "coordinator"), given)


def play(at, stage):
    sites = at.sites
    return advance(sites.members[ME], stage, sites.states.get(ME), encode(at.request), at.given)


@dataclass
class Case:
    """What is done, at which stage, which check sees it, and what the site says."""

    stage: str
    check: str
    error: type
    reason: str
    spoil: Callable[[At], None]


def context(**changes):
    def spoil(at):
        at.request = AdvertiseRequest(replace(at.request.context, **changes))

    return spoil


def change(field_name, site, /, **changes):
    """Change one site's entry in a list of the request."""

    def spoil(at):
        items = tuple(
            replace(item, **{k: v(item) if callable(v) else v for k, v in changes.items()})
            if item.site == site
            else item
            for item in getattr(at.request, field_name)
        )
        at.request = replace(at.request, **{field_name: items})

    return spoil


def drop(field_name, *sites):
    def spoil(at):
        left = tuple(x for x in getattr(at.request, field_name) if x.site not in sites)
        at.request = replace(at.request, **{field_name: left})

    return spoil


def keep(field_name, *sites):
    def spoil(at):
        left = tuple(x for x in getattr(at.request, field_name) if x.site in sites)
        at.request = replace(at.request, **{field_name: left})

    return spoil


def another(field_name):
    def spoil(at):
        at.request = replace(at.request, **{field_name: bytes(32)})

    return spoil


def turned(field_name):
    def spoil(at):
        at.request = replace(at.request, **{field_name: getattr(at.request, field_name)[::-1]})

    return spoil


def flip(signature):
    return bytes([signature[0] ^ 1]) + signature[1:]


def resign_advert(at, site, **changes):
    """Let a cheating site sign another advert than it sent at first."""
    advert = next(one for one in at.request.adverts if one.site == site)
    new = replace(advert, **changes)
    parts = transcript.advert_parts(at.request.keying, new)
    new = replace(new, signature=at.sign(site, "advert", *parts))
    adverts = tuple(new if one.site == site else one for one in at.request.adverts)
    at.request = replace(at.request, adverts=adverts)


def own_swapped_key(at):
    resign_advert(at, ME, channel_key=bytes(31) + b"\x09")


def copied_key(at):
    stolen = next(one for one in at.request.adverts if one.site == "site-00").channel_key
    resign_advert(at, "site-01", channel_key=stolen)


def went_back(at):
    resign_advert(at, "site-01", note=note_of(Head(2, "22" * 32)))


def contradicts(at):
    resign_advert(at, "site-01", note=note_of(Head(3, "22" * 32)))


def shows_no_head(at):
    resign_advert(at, "site-01", note=None)


def too_few_steps(at):
    resign_advert(at, "site-01", steps=())


def other_config(at):
    at.given = replace(at.given, config_hash=hashlib.sha256(b"other").digest())


def begun_before(at):
    at.locks.begin(checks.series(at.request.context), 1, 0)


def begun_since(at):
    at.locks.begin("run-1/train", 2, 0)


def lock_the_model(at):
    at.locks.lock(transcript.model_lock("train", at.table.context.model_hash))


def already(stage):
    def spoil(at):
        at.locks.lock(transcript.stage_lock(stage, at.table.context.keying, 0))

    return spoil


def stranger_among_sharers(at):
    other = replace(at.request.sharers[0], site="site-99")
    at.request = replace(at.request, sharers=(*at.request.sharers, other))


def own_dealing_altered(at):
    change("sharers", ME, dealing_hash=bytes(32))(at)


def other_item_of_dealer(at):
    """The item meant for this site, with another commitment inside."""
    change("dealt", "site-00", item=lambda d: replace(d.item, commitments=d.item.commitments * 2))(
        at
    )


def unsigned_dealing(at):
    change("dealt", "site-00", signature=lambda d: flip(d.signature))(at)


def second_dealing(at):
    """A dealer that signed two dealings; the others are told of the other one."""
    change("sharers", "site-00", dealing_hash=bytes(32))(at)


def item_for_another(at):
    """The cheating dealer signs a dealing in which this site's item is labelled for another."""
    resign_item(at, "site-00", lambda item: replace(item, site="site-03"))


def resign_item(at, dealer, edit):
    """Let a cheating dealer sign other items than it dealt at first."""
    dealt = next(one for one in at.request.dealt if one.site == dealer)
    item = edit(dealt.item)
    old, new = transcript.item_hash(dealt.item), transcript.item_hash(item)
    hashes = tuple(new if one == old else one for one in dealt.item_hashes)
    state = at.sites.states[ME]
    hashed = transcript.dealing_hash(at.request.keying, state.r0, dealer, hashes)
    signature = at.sign(dealer, "dealing", hashed)
    change("dealt", dealer, item=item, item_hashes=hashes, signature=signature)(at)
    change("sharers", dealer, dealing_hash=hashed)(at)


def false_commitment(at):
    def edit(item):
        wrong = replace(item.commitments[0], s=bytes(32))
        return replace(item, commitments=(wrong,))

    resign_item(at, "site-00", edit)


def other_model(at):
    at.given = replace(at.given, model_hash=hashlib.sha256(b"other").digest())


def short_vector(at):
    at.given = replace(at.given, vector_W=np.zeros(3, np.uint64))


def two_lists(at):
    """The other sites confirmed a list without site-00; this one confirmed all."""
    state = at.sites.states[ME]
    for one in at.request.confirmations:
        if one.site != ME:
            other = at.sign(one.site, "confirm", state.ctx, bytes(32))
            change("confirmations", one.site, signature=other)(at)


def stranger_confirms(at):
    """A site that did not upload confirms the list."""
    state = at.sites.states[ME]
    at.sites.states[ME] = replace(state, uploaders=state.uploaders[:-1])


CASES = {
    "another policy": Case(
        "advertise", "policy_is_mine", PolicyRefused, "policy", context(policy_id=bytes(32))
    ),
    "unknown task": Case(
        "advertise", "task_is_known", PolicyRefused, "no task 'steal'", context(task="steal")
    ),
    "changed config": Case(
        "advertise", "config_is_mine", PolicyRefused, "another configuration", other_config
    ),
    "no steps": Case("advertise", "steps_are_few", PolicyRefused, "1 to 64", context(steps=0)),
    "replayed round": Case(
        "advertise", "attempt_is_newer", OutOfOrder, "round 1 attempt 0", begun_before
    ),
    "second attempt on a confirmed model": Case(
        "advertise", "model_is_unlocked", PrivacyError, "already confirmed", lock_the_model
    ),
    "adverts of another attempt": Case(
        "share", "attempt_is_mine", OutOfOrder, "another round", another("keying")
    ),
    "adverts in disorder": Case(
        "share", "names_are_sorted", PeerMisbehaved, "coordinator: SHARE", turned("adverts")
    ),
    "too small a cohort": Case(
        "share", "enough", TooFewSites, "SHARE: .*at least 3 .*2", keep("adverts", "site-00", ME)
    ),
    "invented site": Case(
        "share",
        "adverts_are_signed",
        PeerMisbehaved,
        "coordinator: the advert of 'site-99'",
        change("adverts", "site-04", site="site-99"),
    ),
    "swapped key": Case(
        "share",
        "adverts_are_signed",
        PeerMisbehaved,
        "coordinator: the advert of 'site-00' is not signed",
        change("adverts", "site-00", channel_key=bytes(31) + b"\x09"),
    ),
    "own key swapped": Case(
        "share", "own_advert_is_intact", PeerMisbehaved, "own advert", own_swapped_key
    ),
    "own advert left out": Case(
        "share", "own_advert_is_intact", PeerMisbehaved, "own advert", drop("adverts", ME)
    ),
    "a key twice": Case(
        "share", "no_key_twice", PeerMisbehaved, "site-01: advertised a key of", copied_key
    ),
    "keys for too few steps": Case(
        "share", "steps_agree", PeerMisbehaved, "site-01: expected keys for 1", too_few_steps
    ),
    "a ledger that went back": Case(
        "share",
        "notes_follow",
        PeerMisbehaved,
        "site-01: its ledger went back: it ends at entry 2, entry 3 was seen",
        went_back,
    ),
    "a ledger that contradicts what was seen": Case(
        "share", "notes_follow", PeerMisbehaved, "site-01: its ledger contradicts", contradicts
    ),
    "a ledger that is not shown": Case(
        "share", "notes_follow", PeerMisbehaved, "site-01: shows no head", shows_no_head
    ),
    "second share": Case("share", "lock_stage", OutOfOrder, "SHARE was already", already("SHARE")),
    "dealings of another attempt": Case(
        "mask", "attempt_is_mine", OutOfOrder, "another round", another("keying")
    ),
    "sharers in disorder": Case(
        "mask", "names_are_sorted", PeerMisbehaved, "coordinator: MASK", turned("sharers")
    ),
    "a sharer who did not advertise": Case(
        "mask", "within", PeerMisbehaved, "MASK: 'site-99'", stranger_among_sharers
    ),
    "own dealing altered": Case(
        "mask", "own_dealing_is_listed", PeerMisbehaved, "own dealing", own_dealing_altered
    ),
    "too few sharers": Case(
        "mask",
        "enough",
        TooFewSites,
        "MASK: expected at least 4 sites, got 3",
        lambda at: [drop(f, "site-00", "site-01")(at) for f in ("sharers", "dealt")],
    ),
    "a dealing held back": Case(
        "mask",
        "dealers_are_complete",
        PeerMisbehaved,
        "one item from each",
        drop("dealt", "site-00"),
    ),
    "item for another site": Case(
        "mask", "item_is_for", PeerMisbehaved, "for another site", item_for_another
    ),
    "two dealings of one site": Case(
        "mask", "dealing_is_the_listed", PeerMisbehaved, "two different", second_dealing
    ),
    "altered item": Case(
        "mask", "item_is_signed", PeerMisbehaved, "is not what it dealt", other_item_of_dealer
    ),
    "unsigned dealing": Case(
        "mask", "item_is_signed", PeerMisbehaved, "not signed by it", unsigned_dealing
    ),
    "share that breaks its commitment": Case(
        "mask", "opened_matches", PeerMisbehaved, "site-00: dealt a share", false_commitment
    ),
    "another model than announced": Case(
        "mask", "model_is_mine", PeerMisbehaved, "another model", other_model
    ),
    "model confirmed meanwhile": Case(
        "mask", "model_is_unlocked", PrivacyError, "already confirmed", lock_the_model
    ),
    "newer round begun meanwhile": Case(
        "mask", "round_is_current", OutOfOrder, "was begun since", begun_since
    ),
    "vector of another layout": Case(
        "mask", "vector_fits", PolicyRefused, "words of 64 bits", short_vector
    ),
    "second mask": Case("mask", "lock_stage", OutOfOrder, "MASK was already", already("MASK")),
    "uploads of another attempt": Case(
        "confirm", "attempt_is_mine", OutOfOrder, "another round", another("ctx")
    ),
    "uploads in disorder": Case(
        "confirm", "names_are_sorted", PeerMisbehaved, "coordinator: CONFIRM", turned("uploads")
    ),
    "an upload by a stranger": Case(
        "confirm",
        "within",
        PeerMisbehaved,
        "CONFIRM: 'site-99'",
        change("uploads", "site-04", site="site-99"),
    ),
    "too few uploads": Case(
        "confirm",
        "enough",
        TooFewSites,
        "CONFIRM: expected at least 4 sites, got 3",
        drop("uploads", "site-00", "site-01"),
    ),
    "altered H(y)": Case(
        "confirm",
        "uploads_are_signed",
        PeerMisbehaved,
        "coordinator: the upload of 'site-00'",
        change("uploads", "site-00", y_hash=bytes(32)),
    ),
    "own H(y) altered": Case(
        "confirm",
        "own_upload_is_intact",
        PeerMisbehaved,
        "own upload",
        change("uploads", ME, y_hash=bytes(32)),
    ),
    "own upload left out": Case(
        "confirm", "own_upload_is_intact", PeerMisbehaved, "own upload", drop("uploads", ME)
    ),
    "second confirmation": Case(
        "confirm", "lock_stage", OutOfOrder, "CONFIRM was already", already("CONFIRM")
    ),
    "second sum on one model": Case(
        "confirm", "lock_model", PrivacyError, "already confirmed", lock_the_model
    ),
    "confirmations of another attempt": Case(
        "unmask", "attempt_is_mine", OutOfOrder, "another round", another("ctx")
    ),
    "confirmations in disorder": Case(
        "unmask", "names_are_sorted", PeerMisbehaved, "UNMASK", turned("confirmations")
    ),
    "a confirmation by a stranger": Case(
        "unmask", "within", PeerMisbehaved, "UNMASK: 'site-04'", stranger_confirms
    ),
    "too few confirmations": Case(
        "unmask",
        "confirmations_suffice",
        TooFewSites,
        "expected 4 confirmations .*got 3",
        drop("confirmations", "site-00", "site-01"),
    ),
    "two different lists": Case(
        "unmask", "confirmations_suffice", TooFewSites, "expected 4 .*got 1", two_lists
    ),
    "second unmask": Case(
        "unmask", "lock_stage", OutOfOrder, "UNMASK was already", already("UNMASK")
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_site_refuses_with_who_and_why(table, name):
    case = CASES[name]
    at = reach(table, case.stage)
    case.spoil(at)
    with pytest.raises(case.error, match=case.reason):
        play(at, case.stage)


@pytest.mark.parametrize("name", CASES)
def test_the_refusal_is_gone_when_the_check_is_taken_out(table, name, monkeypatch):
    case = CASES[name]
    at = reach(table, case.stage)
    case.spoil(at)
    monkeypatch.setattr(checks, case.check, lambda *args: None)
    try:
        play(at, case.stage)
    except (case.error, IndexError, KeyError, ValueError) as error:
        refused = type(error) is case.error and re.search(case.reason, str(error))
        assert not refused


def test_every_check_has_a_case():
    public = {
        name
        for name, value in vars(checks).items()
        if callable(value) and getattr(value, "__module__", "") == checks.__name__
    }
    assert public - {"series"} == {case.check for case in CASES.values()}


AFTER = {
    "advertise": states.Advertised,
    "share": states.Shared,
    "mask": states.Masked,
    "confirm": states.Confirmed,
    "unmask": states.Finished,
}


@pytest.mark.parametrize("stage", TYPES)
def test_without_a_change_the_site_replies(table, stage):
    state, reply = play(reach(table, stage), stage)
    assert type(state) is AFTER[stage]
    assert reply


@pytest.mark.parametrize("stage", ["share", "mask", "confirm", "unmask"])
@pytest.mark.parametrize("after", [None, *AFTER])
def test_a_stage_out_of_turn_is_refused(table, stage, after):
    turn = {"share": "advertise", "mask": "share", "confirm": "mask", "unmask": "confirm"}
    at = reach(table, stage)
    if after == turn[stage]:
        return
    past = None if after is None else play(reach(table, after), after)[0]
    if stage == "mask" and isinstance(past, states.Masked | states.Confirmed):
        past = replace(past, rest=None)
    at.sites.states[ME] = past
    with pytest.raises(OutOfOrder):
        play(at, stage)
