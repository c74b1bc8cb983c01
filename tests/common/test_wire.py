"""Messages survive the trip unchanged, and nothing but exactly the stage's fields gets through."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

import common.wire
from common.errors import ProtocolError
from common.refusals import REFUSALS
from common.wire import (
    STAGES,
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)

BODIES = st.sampled_from(STAGES[1:])


def record(**fields) -> RecordDict:
    return RecordDict({"tacit": ConfigRecord(fields)})


@given(BODIES, st.binary(max_size=200))
def test_a_body_comes_back_as_it_was_sent(stage, body):
    request = Request(stage, {"task": "train", "body": body})
    assert decode_request(stage, encode_request(request)) == request
    assert decode_reply(stage, encode_reply(Reply({"body": body}))) == Reply({"body": body})


@given(st.text(max_size=100))
def test_a_hello_comes_back_as_it_was_sent(site):
    reply = Reply({"version": 1, "site": site})
    assert decode_reply("hello", encode_reply(reply)) == reply


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20),
        st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5),
        min_size=1,
        max_size=3,
    )
)
def test_a_model_travels_with_mask_alone(lists):
    model = {name: np.array(values, np.float32) for name, values in lists.items()}
    sent = encode_request(Request("mask", {"task": "train", "body": b"x"}, model))
    found = decode_request("mask", sent)
    assert set(found.model) == set(model)
    assert all(np.array_equal(found.model[name], model[name]) for name in model)
    with pytest.raises(ProtocolError):
        decode_request("share", sent)


@pytest.mark.parametrize("word", REFUSALS)
def test_a_refusal_is_one_known_word(word):
    reply = decode_reply("mask", encode_reply(Reply(refused=word)))
    assert reply == Reply(refused=word)


def test_a_refusal_hides_whatever_else_a_reply_holds():
    sent = encode_reply(Reply({"body": b"x"}, refused="data"))
    assert dict(sent["tacit"]) == {"refused": "data"}


@pytest.mark.parametrize(
    "records",
    [
        record(refused="because the disk of patient 7 is full"),
        record(refused="policy", body=b""),
        record(refused=b"policy"),
        record(),
        record(body="text"),
        record(body=3),
        record(body=[b"x"]),
        record(body=b"x", loss=0.5),
        record(Body=b"x"),
        RecordDict(),
        RecordDict({"tacit": MetricRecord({"body": 3})}),
        RecordDict({"tacit": ArrayRecord({"body": Array(np.zeros(2))})}),
        RecordDict(
            {
                "tacit": ConfigRecord({"task": "train", "body": b"x"}),
                "more": MetricRecord({"loss": 1.0}),
            }
        ),
        RecordDict(
            {"tacit": ConfigRecord({"task": "train", "body": b"x"}), "model": ArrayRecord()}
        ),
        RecordDict({"other": ConfigRecord({"body": b"x"})}),
    ],
    ids=repr,
)
def test_bad_replies_are_refused(records):
    for stage in STAGES[1:]:
        with pytest.raises(ProtocolError):
            decode_reply(stage, records)


@pytest.mark.parametrize(
    "records",
    [
        record(version=True, site="hill"),
        record(version=1.0, site="hill"),
        record(version=1, site=b"hill"),
        record(version=1),
        record(version=1, site="hill", persons=40),
        record(version=1, site="h" * 5000),
    ],
    ids=lambda records: repr(records)[:80],
)
def test_bad_hellos_are_refused(records):
    with pytest.raises(ProtocolError):
        decode_reply("hello", records)


@pytest.mark.parametrize("records", [record(), record(body=1), record(body=b"x", more=1)], ids=repr)
def test_bad_requests_are_refused(records):
    for stage in STAGES:
        with pytest.raises(ProtocolError):
            decode_request(stage, records)


def test_an_unknown_stage_is_refused():
    with pytest.raises(ProtocolError, match="no stage"):
        decode_request("train", record(body=b""))
    with pytest.raises(ProtocolError, match="no stage"):
        decode_reply("train", record(body=b""))


def test_a_body_beyond_the_bound_is_refused(monkeypatch):
    monkeypatch.setattr(common.wire, "MAX_BODY_BYTES", 10)
    assert decode_reply("mask", record(body=b"x" * 10))
    with pytest.raises(ProtocolError, match="longer than 10 bytes"):
        decode_reply("mask", record(body=b"x" * 11))
