"""Requests out, replies in: whoever is late, silent, odd or double is a drop-out, no crash."""

from collections.abc import Iterable

import pytest
from flwr.app import Error, Message, RecordDict
from flwr.common.constant import ErrorCode

from common.errors import ConfigError, PolicyRefused, ProtocolError, TooFewSites
from common.wire import MESSAGE_TYPES, VERSION, Reply, Request, encode_reply
from server.exchange import GridExchange, Meeting, _pause_s
from server.quorum import Quorum
from simulations.federation import InProcessGrid

NODES = {"hill": 11, "lake": 12, "mill": 13}


class FakeGrid:
    """A grid that answers what the test says: node -> content, Error, or None for silence."""

    def __init__(self, answers, *, nodes=(11, 12, 13), copies=1, late=0, refuse=()):
        InProcessGrid(lambda *_: None, 0, {})  # Flower's messages want a task's identity
        self.answers, self.nodes, self.copies = answers, nodes, copies
        self.late, self.refuse = late, refuse
        self.sent: dict[str, Message] = {}

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def push_messages(self, messages):
        ids = []
        for message in messages:
            node = message.metadata.dst_node_id
            key = None if node in self.refuse else f"id-{node}"
            ids.append(key)
            if key:
                message.metadata.__dict__["_message_id"] = key
                self.sent[key] = message
        return ids

    def pull_messages(self, ids):
        if self.late > 0:
            self.late -= 1
            return []
        found = []
        for key in list(ids):
            message = self.sent[key]
            answer = self.answers.get(message.metadata.dst_node_id)
            if isinstance(answer, RecordDict | Error):
                found += [Message(answer, reply_to=message)] * self.copies
        return found


def hello(site, version=VERSION):
    return encode_reply(Reply({"version": version, "site": site}))


def body(data):
    return encode_reply(Reply({"body": data}))


def ask(grid, timeout_s=0.3, sites=tuple(NODES)):
    lines: list[str] = []
    exchange = GridExchange(grid, NODES, timeout_s, lines.append)
    replies = exchange("share", {site: Request("share", {"body": b"q"}) for site in sites})
    return {site: reply.fields.get("body") for site, reply in replies.items()}, lines


GOOD = {11: body(b"h"), 12: body(b"l"), 13: body(b"m")}


def test_each_site_gets_its_request_and_each_reply_its_site():
    grid = FakeGrid(GOOD)
    assert ask(grid) == ({"hill": b"h", "lake": b"l", "mill": b"m"}, [])
    assert {m.metadata.message_type for m in grid.sent.values()} == {MESSAGE_TYPES["share"]}


def test_only_the_sites_that_are_asked_get_a_request():
    grid = FakeGrid(GOOD)
    assert ask(grid, sites=("lake",))[0] == {"lake": b"l"}
    assert list(grid.sent) == ["id-12"]


def test_a_silent_site_is_absent():
    replies, lines = ask(FakeGrid({**GOOD, 12: None}), timeout_s=0.15)
    assert replies == {"hill": b"h", "mill": b"m"}
    assert lines == ["lake gave no answer to share"]


def test_a_slow_reply_is_waited_for():
    assert len(ask(FakeGrid(GOOD, late=3), timeout_s=5.0)[0]) == 3


def test_replies_are_asked_for_less_often_the_longer_a_stage_lasts():
    assert [_pause_s(s) for s in (0, 0.5, 1, 4, 5, 60)] == [0.05, 0.05, 0.1, 0.4, 0.5, 0.5]


def test_a_reply_after_the_deadline_is_absent():
    replies, lines = ask(FakeGrid(GOOD, late=1000), timeout_s=0.1)
    assert replies == {}
    assert len(lines) == 3


def test_an_error_is_a_drop_out_and_its_text_is_not_repeated():
    error = Error(2, "ValueError: patient-7 has no recording")
    replies, lines = ask(FakeGrid({**GOOD, 13: error}))
    assert set(replies) == {"hill", "lake"}
    assert lines == ["mill failed in share (code 2)", "mill gave no answer to share"]


@pytest.mark.parametrize(
    "odd",
    [RecordDict(), hello("mill"), encode_reply(Reply({"body": b"m", "more": 1}))],
    ids=["nothing", "hello", "more"],
)
def test_an_odd_reply_is_a_drop_out(odd):
    replies, lines = ask(FakeGrid({**GOOD, 13: odd}))
    assert set(replies) == {"hill", "lake"}
    assert any(line.startswith("mill: share: expected") for line in lines)


def test_a_reply_that_comes_twice_counts_once():
    assert ask(FakeGrid(GOOD, copies=2))[0] == {"hill": b"h", "lake": b"l", "mill": b"m"}


def test_a_message_that_flower_did_not_take_is_a_drop_out():
    replies, lines = ask(FakeGrid(GOOD, refuse=(11,)))
    assert replies == {"lake": b"l", "mill": b"m"}
    assert lines == ["hill gave no answer to share"]


def test_a_site_that_never_said_hello_is_a_drop_out():
    replies, lines = ask(FakeGrid(GOOD), sites=("hill", "pier"))
    assert replies == {"hill": b"h"}
    assert lines == ["pier gave no answer to share"]


def gather(grid, wait_s=0.2, fewest=3, roster=(), lines=None):
    """The nodes of the sites that a run starts with."""
    meeting = Meeting(grid, {}, roster)
    names = roster or ("a", "b", "c")
    said = lines if lines is not None else []
    Quorum(meeting.there, names, fewest, said.append, wait_s=wait_s, grace_s=0.1).gather()
    return meeting.nodes


def test_a_meeting_maps_names_to_nodes():
    grid = FakeGrid({11: hello("mill"), 12: hello("hill"), 13: hello("lake")})
    assert gather(grid, 1.0) == {"hill": 12, "lake": 13, "mill": 11}


def test_a_run_waits_for_the_nodes_to_come_up():
    grid = FakeGrid({11: hello("a"), 12: hello("b"), 13: hello("c")}, nodes=[11])
    calls = []

    def come_up():
        calls.append(1)
        return [11, 12, 13][: len(calls)]

    grid.get_node_ids = come_up
    assert len(gather(grid, 5.0)) == 3


@pytest.mark.parametrize(
    ("answers", "kind", "said"),
    [
        ({11: hello("a"), 12: hello("a"), 13: hello("b")}, ProtocolError, "Two nodes say .* a"),
        ({11: hello("a"), 12: hello("b", 2), 13: hello("c")}, ProtocolError, "b does not speak"),
        ({11: hello("a"), 12: hello("b")}, TooFewSites, "2 of 3 sites .* Missing: c"),
        ({11: hello("a"), 12: hello("b"), 13: Error(2, "x")}, TooFewSites, "2 of 3 sites"),
        (
            {11: hello("a"), 12: hello("b"), 13: encode_reply(Reply(refused="config"))},
            ConfigError,
            "Node 13 refused: the study or the site's set-up",
        ),
        (
            {11: hello("a"), 12: hello("b"), 13: encode_reply(Reply(refused="order"))},
            ProtocolError,
            "Node 13 refused to say who it is: order",
        ),
        ({11: hello("a"), 12: hello("b"), 13: body(b"x")}, ProtocolError, "hello: expected"),
    ],
)
def test_a_bad_meeting_ends_the_run(answers, kind, said):
    with pytest.raises(kind, match=said):
        gather(FakeGrid(answers))


def test_a_bundle_that_a_site_has_not_approved_ends_the_run():
    refusal = Error(ErrorCode.INVALID_FAB, "PolicyRefused")
    grid = FakeGrid({11: hello("hill"), 12: hello("lake"), 13: refusal})
    with pytest.raises(PolicyRefused, match=r"not approved .*those that have: hill, lake"):
        gather(grid)


def test_nodes_that_do_not_come_up_end_the_run():
    with pytest.raises(TooFewSites, match=r"0 of 3 sites are there .* Missing: a, b, c"):
        gather(FakeGrid({}, nodes=[11]))


def test_a_run_starts_with_enough_sites_and_says_who_is_missing():
    lines = []
    grid = FakeGrid({11: hello("a"), 12: hello("b")})
    assert gather(grid, 5.0, fewest=2, lines=lines) == {"a": 11, "b": 12}
    assert lines == ["starts without c; they may join when keys are made next"]


def test_a_site_that_is_not_in_the_roster_does_not_count():
    grid = FakeGrid({11: hello("a"), 12: hello("b"), 13: hello("stranger")})
    with pytest.raises(TooFewSites, match="Missing: c"):
        gather(grid, roster=("a", "b", "c"))


def test_a_site_that_comes_late_joins_before_keys_are_made():
    grid = FakeGrid({11: body(b"h"), 12: hello("lake")})
    exchange = GridExchange(grid, {"hill": 11}, 0.3, print)
    for stage in ("advertise", "mask"):
        exchange(stage, {"hill": Request(stage, {"body": b"q"})})
    assert exchange.meeting.nodes == {"hill": 11, "lake": 12}


def test_a_late_site_that_cannot_join_is_said_and_ends_nothing():
    lines = []
    grid = FakeGrid({11: body(b"h"), 12: hello("hill")})
    exchange = GridExchange(grid, {"hill": 11}, 0.3, lines.append)
    for stage in ("advertise", "mask"):
        exchange(stage, {"hill": Request(stage, {"body": b"q"})})
    assert "a site that came late is left out: Two nodes say that they are hill." in lines
    assert exchange.meeting.nodes == {"hill": 11}


def test_a_node_that_refuses_hides_no_other_that_came_with_it():
    grid = FakeGrid({11: hello("a", 2), 12: hello("hill"), 13: hello("lake")})
    meeting = Meeting(grid, {})
    meeting.there()
    with pytest.raises(ProtocolError, match="a does not speak"):
        meeting.there()
    assert meeting.nodes == {"hill": 12, "lake": 13}
