"""The runner at its desk: what it takes, what it answers, what it never says."""

import contextlib
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.common.constant import ErrorCode, SubStatus

import client.runner
from client.runner import Desk, pause_s, serve
from simulations.federation import InProcessGrid

SECRET = "patient-0815"
BUNDLE = b"the approved bundle"
GOOD = hashlib.sha256(BUNDLE).hexdigest()


@dataclass
class Counter:
    """A SuperNode's side of the desk, in this process; keeps what was pushed."""

    fab_hash: str = GOOD
    content: bytes = BUNDLE
    replies: list[Message] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    said: list[tuple[object, ...]] = field(default_factory=list)
    contexts: list[Context] = field(default_factory=list)
    is_lost: bool = False

    def pull(self, client):
        if self.is_lost:
            raise httpx.ConnectError("gone")
        message = Message(RecordDict(), 1, "query.hello")
        message.metadata.__dict__["_message_id"] = "m"
        context = Context(1, 1, {"partition-id": 3}, RecordDict(), {"study": "demo"})
        run = SimpleNamespace(fab_hash=self.fab_hash)
        return message, context, run, SimpleNamespace(content=self.content)

    def push(self, client, reply, context):
        self.replies.append(reply)
        self.contexts.append(context)

    def output(self, client, context, status, details):
        self.statuses.append(status)
        assert details == ""

    def report(self, event, detail, study="", number=0):
        self.said.append((event, detail, study, number))


@pytest.fixture
def at_desk(monkeypatch, tmp_path):
    """Answer one task; returns the counter."""
    InProcessGrid(lambda *_: None, 1, {})  # Flower's messages want a task's identity

    def answer(app, approved=lambda sha256: sha256 == GOOD, **task) -> Counter:
        counter = Counter(**task)
        monkeypatch.setattr(
            client.runner, "_client", lambda *_: SimpleNamespace(close=lambda: None)
        )
        monkeypatch.setattr(client.runner, "_beating", lambda _: contextlib.nullcontext())
        monkeypatch.setattr(client.runner, "pull_task_input", counter.pull)
        monkeypatch.setattr(client.runner, "push_message", counter.push)
        monkeypatch.setattr(client.runner, "push_task_output", counter.output)
        desk = Desk("h:1", b"s", tmp_path, app, approved, counter.report, lambda *_: ("demo", 4))
        client.runner._take(desk, "token")
        return counter

    return answer


def well(message: Message, context: Context) -> Message:
    return Message(RecordDict({"tacit": ConfigRecord({"version": 1})}), reply_to=message)


def never(message: Message, context: Context) -> Message:
    pytest.fail("code ran for a bundle that nobody approved")


def test_an_approved_bundle_is_answered_by_the_installed_code(at_desk, tmp_path: Path):
    found = at_desk(well)
    assert dict(found.replies[0].content["tacit"]) == {"version": 1}
    assert found.statuses == [SubStatus.COMPLETED]
    assert found.said == [("answered", "query.hello", "demo", 4)]
    assert found.contexts[0].node_config["site-dir"] == str(tmp_path)


@pytest.mark.parametrize(
    "task",
    [
        {"content": b"another bundle", "fab_hash": hashlib.sha256(b"another bundle").hexdigest()},
        {"content": b"another bundle"},
        {"fab_hash": "0" * 64},
        {"fab_hash": ""},
    ],
    ids=["not approved", "another than claimed", "a hash of none", "no hash"],
)
def test_any_other_bundle_is_refused_and_no_code_runs(at_desk, task):
    found = at_desk(never, **task)
    assert found.replies[0].error.code == ErrorCode.INVALID_FAB
    assert found.statuses == [SubStatus.FAILED]
    assert found.said[0][0] == "bundle refused"


def test_a_list_that_cannot_be_read_approves_nothing(at_desk):
    def damaged(_: str) -> bool:
        raise OSError(SECRET)

    found = at_desk(never, approved=damaged)
    assert found.replies[0].has_error()
    assert SECRET not in repr(found.replies[0].error)


@pytest.mark.parametrize(
    "error", [ValueError(SECRET), MemoryError(SECRET), type(SECRET, (Exception,), {})(SECRET)]
)
def test_neither_the_text_nor_the_name_of_an_error_leaves(at_desk, error):
    def fail(message, context):
        raise error

    found = at_desk(fail)
    assert found.replies[0].error.code == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    assert found.replies[0].error.reason == "the site's own log says why"
    assert found.said == [("failed", type(error).__name__, "", 0)]


def test_a_supernode_that_goes_away_ends_the_task_and_not_the_runner(at_desk):
    found = at_desk(well, is_lost=True)
    assert found.replies == []
    assert found.said == [("task lost", "ConnectError", "", 0)]


def test_a_runner_waits_longer_and_longer_for_its_supernode(monkeypatch, tmp_path: Path):
    slept, said = [], []
    monkeypatch.setattr(client.runner.time, "sleep", slept.append)
    monkeypatch.setattr(client.runner, "_client", lambda *_: SimpleNamespace(close=lambda: None))

    def nobody(_):
        raise httpx.ConnectError(SECRET)

    monkeypatch.setattr(client.runner, "_next_task", nobody)
    desk = Desk(
        "h:1", b"s", tmp_path, well, lambda _: True,
        lambda *words: said.append(words), lambda *_: ("", 0),
    )  # fmt: skip
    serve(desk, lambda: len(slept) == 9)
    assert slept[:3] == [0.2, 0.4, 0.8]
    assert slept[-1] == client.runner.LONGEST_WAIT_S
    assert set(said) == {("waiting", "ConnectError")}


def test_a_runner_without_work_asks_less_often():
    assert [pause_s(idle) for idle in (0, 59, 61, 3600)] == [0.1, 0.1, 0.5, 0.5]
