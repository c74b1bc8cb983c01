"""The last look at a reply: a field too many, or a body too long, stops it."""

import pytest

import client.app
from client import egress
from client.steps import Answer
from common.errors import PrivacyError
from common.secagg.messages import (
    MAGIC,
    Advert,
    Confirmation,
    Dealing,
    Pair,
    Refusal,
    Reveal,
    Upload,
    Uploaded,
    encode,
)
from common.secagg.riding import JOINED, Riding
from common.wire import STAGES, VERSION, Reply


@pytest.fixture
def session(lay_table):
    return lay_table().session("hill")


def message(stage, site="hill"):
    """The shortest message of a stage, in a site's name."""
    signature = bytes(64)
    alone = {
        "advertise": Advert(site, bytes(32), (), None, signature),
        "share": Dealing(site, (), signature),
        "mask": Upload(bytes(8), Uploaded(site, bytes(32), None, signature)),
        "confirm": Confirmation(site, signature),
        "unmask": Reveal(site, (), (), signature),
    }
    halves = [encode(alone[half]) for half in stage.split("+")]
    return halves[0] if len(halves) == 1 else encode(Pair(*halves))


@pytest.mark.parametrize("stage", STAGES[1:])
def test_the_replies_of_the_protocol_pass(session, stage):
    for body in (message(stage), encode(Refusal("hill", "lake", "its share is wrong"))):
        egress.check(stage, Reply({"body": body}), session)


def test_hello_passes():
    egress.check_hello(Reply({"version": VERSION, "site": "hill"}), "hill")


@pytest.mark.parametrize("stage", STAGES[1:])
def test_bytes_that_are_no_message_of_the_stage_are_stopped(session, stage):
    """A number behind the mark of a refusal, or behind a whole message, is no message."""
    mark = encode(Refusal("hill", "lake", ""))[: len(MAGIC) + 1]
    other = next(s for s in STAGES[1:] if s != stage and "+" not in s)
    for body in (b"x", mark + b"40.5", message(stage) + b"40.5", message(other)):
        with pytest.raises(PrivacyError, match="what is no message of it"):
            egress.check(stage, Reply({"body": body}), session)


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_message_in_the_name_of_another_site_is_stopped(session, stage):
    for body in (message(stage, "lake"), encode(Refusal("lake", "hill", "its share is wrong"))):
        with pytest.raises(PrivacyError, match="in the name of another site"):
            egress.check(stage, Reply({"body": body}), session)


@pytest.mark.parametrize("accused", ["", "0.25 0.5 0.125", "nobody"])
def test_a_refusal_accuses_a_site_of_the_study_or_the_coordinator(session, accused):
    known = encode(Refusal("hill", "coordinator", "too few sites"))
    egress.check("mask", Reply({"body": known}), session)
    with pytest.raises(PrivacyError, match="accuses nobody of this study"):
        egress.check("mask", Reply({"body": encode(Refusal("hill", accused, ""))}), session)


@pytest.mark.parametrize("stage", STAGES[1:])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"body": b"x", "loss": 3},
        {"body": b"x", "num_examples": 40},
        {"body": "text"},
        {"Body": b"x"},
        {"version": VERSION, "site": "hill"},
    ],
    ids=repr,
)
def test_any_other_field_is_stopped(session, stage, fields):
    with pytest.raises(PrivacyError, match="nothing else"):
        egress.check(stage, Reply(fields), session)


@pytest.mark.parametrize(
    "fields",
    [
        {"version": VERSION, "site": "lake"},
        {"version": VERSION, "site": "hill", "persons": 6},
        {"version": VERSION + 1, "site": "hill"},
        {"version": VERSION},
    ],
    ids=repr,
)
def test_hello_says_the_name_and_the_version_alone(fields):
    with pytest.raises(PrivacyError, match="nothing else"):
        egress.check_hello(Reply(fields), "hill")


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_body_longer_than_the_study_needs_is_stopped(session, stage):
    most = egress.most_bytes(stage, session)
    with pytest.raises(PrivacyError, match="at most"):
        egress.check(stage, Reply({"body": bytes(most + 1)}), session)


def test_the_bound_on_a_masked_vector_is_near_its_size(session):
    words = max(layout.words for layout in session.member.policy.layouts.values())
    assert 8 * words < egress.most_bytes("mask", session) <= 8 * words + 4096


@pytest.mark.parametrize("stage", JOINED)
def test_a_joined_reply_may_be_as_long_as_its_two_halves(session, stage):
    halves = [egress.most_bytes(half, session) for half in stage.split("+")]
    assert max(halves) < egress.most_bytes(stage, session) <= sum(halves)


def test_a_planted_number_never_leaves(lay_table, monkeypatch):
    """A step that was changed to say more: the site answers in one word instead."""
    table, said = lay_table(), []
    monkeypatch.setattr(
        client.app,
        "answer",
        lambda *_: Answer(Riding(), Reply({"body": b"x", "loss": 3})),
    )
    sums, _ = table.sums(table.grid(tap=said.append))
    with pytest.raises(PrivacyError, match="harbour, hill, lake, mill refused: going on would"):
        sums.over("evaluate", 1, {})
    replies = [dict(message.content["tacit"]) for message in said[1::2]]
    assert replies[-4:] == [{"refused": "privacy"}] * 4
