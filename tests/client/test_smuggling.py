"""Code in the training path that misbehaves: what it adds never leaves, and stands on record.

Each test plants it in one site of four, in the real app, and reads every message that crosses.
"""

import json

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.app.error import Error

import client.app
import client.contribute
import client.steps
from client.site.audit_log import check
from common.errors import ExitCode, OutOfOrder, PeerMisbehaved, PrivacyError, ProtocolError
from common.keys import read_roster
from common.models.registry import build
from common.parameters import to_arrays

SECRET = "patient-0815"
NUMBERS = np.arange(9, dtype=np.float32)


def with_record(name, record):
    def plant(message, made):
        made.content[name] = record
        return made

    return plant


def with_field(message, made):
    made.content["tacit"]["loss"] = 0.25
    return made


def with_an_error(message, made):
    return Message(Error(2, SECRET), reply_to=message)


def with_a_long_body(message, made):
    body = bytes(made.content["tacit"]["body"])
    made.content["tacit"]["body"] = body + NUMBERS.tobytes() * 1000
    return made


def with_text_for_a_word(message, made):
    return Message(RecordDict({"tacit": ConfigRecord({"refused": SECRET})}), reply_to=message)


def by_raising(message, made):
    raise ValueError(SECRET)


def by_the_name_of_an_error(message, made):
    raise type(SECRET, (Exception,), {})


PLANTED = {
    "a tensor": (with_record("update", ArrayRecord({SECRET: Array(NUMBERS)})), "privacy"),
    "a metric": (with_record("metrics", MetricRecord({SECRET: 0.25})), "privacy"),
    "another record": (with_record("more", ConfigRecord({"who": SECRET})), "privacy"),
    "a field": (with_field, "privacy"),
    "an error": (with_an_error, "privacy"),
    "a longer body": (with_a_long_body, "privacy"),
    "a word of its own": (with_text_for_a_word, "privacy"),
    "an exception": (by_raising, "fault"),
    "an exception's name": (by_the_name_of_an_error, "fault"),
}


@pytest.fixture
def play(lay_table):
    """Play a round of training, with every message on tape; returns table, sum, lines, tape."""

    def played():
        table, tape = lay_table(), []
        sums, lines = table.sums(table.grid(tap=tape.append))
        total = sums.over("train", 1, to_arrays(build(table.study)))
        return table, total, lines, tape

    return played


def assert_stopped(table, lines, tape, word, site="lake"):
    """One word left; the audit log has it, signed; the site's own log says why; nothing else."""
    assert f"{site} refused mask: {word}" in lines
    folder = table.folder(site)
    audit = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    refused = [line for line in audit if line["event"] == "refused"]
    assert [(line["stage"], line["word"]) for line in refused] == [("mask", word)]
    check(folder / "audit.jsonl", read_roster(table.root / "roster.json")[site])
    last = json.loads((folder / "site.log").read_text().splitlines()[-1])
    assert last["word"] == word
    assert last["reason"] or word == "fault"
    for message in tape:
        assert list(message.content) in (["tacit"], ["tacit", "model"])
        assert SECRET not in repr(message.content)
        assert SECRET.encode() not in repr(message.content).encode()


@pytest.mark.parametrize("planted", PLANTED)
def test_what_a_planted_handler_adds_is_stopped(play, monkeypatch, planted):
    plant, word = PLANTED[planted]
    respond = client.app._respond

    def misbehaving(stage, message, context):
        made = respond(stage, message, context)
        is_here = stage == "mask" and client.app.site_root(context).name == "lake"
        return plant(message, made) if is_here else made

    monkeypatch.setattr(client.app, "_respond", misbehaving)
    table, total, lines, tape = play()
    assert total.contributors == ("harbour", "hill", "mill")
    assert_stopped(table, lines, tape, word)


@pytest.mark.parametrize(
    "error",
    [
        ProtocolError(SECRET),
        OutOfOrder(SECRET),
        PeerMisbehaved("coordinator", SECRET),
        PeerMisbehaved(SECRET, SECRET),
    ],
    ids=repr,
)
def test_training_cannot_speak_through_the_protocols_own_refusals(play, monkeypatch, error):
    """Those travel with their reason, since it accuses a peer; the work has nobody to accuse."""
    train = client.contribute._train

    def misbehaving(session, model, entropy):
        if session.site.name == "lake":
            raise error
        return train(session, model, entropy)

    monkeypatch.setattr(client.contribute, "_train", misbehaving)
    table, total, lines, tape = play()
    assert "lake" not in total.contributors
    assert_stopped(table, lines, tape, "privacy")
    assert SECRET in (table.folder("lake") / "site.log").read_text()


def test_numbers_without_a_receipt_from_the_ledger_are_stopped(play, monkeypatch):
    contribution = client.steps.contribution

    def free_of_charge(session, context, model):
        if session.site.name != "lake":
            return contribution(session, context, model)
        entropy = client.contribute.entropy_of(session, context)
        return client.contribute._train(session, model, entropy)

    monkeypatch.setattr(client.steps, "contribution", free_of_charge)
    table, total, lines, tape = play()
    assert "lake" not in total.contributors
    assert_stopped(table, lines, tape, "privacy")
    assert "not charged for" in (table.folder("lake") / "site.log").read_text()


def test_numbers_that_were_charged_for_and_never_committed_are_stopped(play, monkeypatch):
    from contextlib import contextmanager

    charge = client.contribute.charge

    @contextmanager
    def never_committed(session, context):
        if session.site.name != "lake":
            with charge(session, context):
                yield
            return
        entered = charge(session, context)
        entered.__enter__()
        yield

    monkeypatch.setattr(client.contribute, "charge", never_committed)
    table, total, lines, tape = play()
    assert "lake" not in total.contributors
    assert_stopped(table, lines, tape, "privacy")


def test_where_every_site_misbehaves_the_round_is_refused_as_a_matter_of_privacy(
    lay_table, monkeypatch
):
    respond = client.app._respond

    def misbehaving(stage, message, context):
        made = respond(stage, message, context)
        if stage == "mask":
            made.content["update"] = ArrayRecord({"w": Array(NUMBERS)})
        return made

    monkeypatch.setattr(client.app, "_respond", misbehaving)
    table = lay_table()
    sums, _ = table.sums()
    with pytest.raises(PrivacyError, match="harbour, hill, lake, mill refused") as error:
        sums.over("train", 1, to_arrays(build(table.study)))
    assert error.value.exit_code == ExitCode.PRIVACY
