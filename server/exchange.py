"""How requests reach sites and replies come back: Exchange = (stage, requests) -> replies.

A drop-out is an absent key. The same function serves the in-process grid, Flower's simulation
and its deployment engine; only the Grid behind it differs.
"""

import time
from collections.abc import Callable, Collection, Mapping

from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from common.errors import PolicyRefused, ProtocolError, TacitError
from common.refusals import error_of
from common.wire import (
    MESSAGE_TYPES,
    VERSION,
    Reply,
    Request,
    decode_reply,
    encode_request,
)

KEYING = ("advertise", "mask")
"""Stages before which nodes that are new are asked who they are: the next keys include them."""

Exchange = Callable[[str, Mapping[str, Request]], dict[str, Reply]]
Log = Callable[[str], None]

_POLL_S, _LONGEST_POLL_S = 0.05, 0.5
_POLL_SHARE = 0.1
"""How much longer a stage may take by asking less often, the longer it has lasted."""
_HELLO_S = 60.0


class GridExchange:
    """An Exchange over a Flower Grid.

    Args:
        grid: Flower's connection to the nodes.
        nodes: site name -> node id; or who finds that out while the run goes on.
        timeout_s: how long to wait for the replies of one stage.
        log: gets one line for each site that did not answer properly.
    """

    def __init__(
        self, grid: Grid, nodes: "Mapping[str, int] | Meeting", timeout_s: float, log: Log
    ) -> None:
        self.grid = grid
        self.meeting = nodes if isinstance(nodes, Meeting) else Meeting(grid, nodes)
        self.timeout_s = timeout_s
        self.log = log

    def __call__(self, stage: str, requests: Mapping[str, Request]) -> dict[str, Reply]:
        """Send each site its request; the replies of those that answered in time."""
        if stage in KEYING:
            self._meet()
        nodes = self.meeting.nodes
        by_node = {nodes[site]: request for site, request in requests.items() if site in nodes}
        answers = _send(self.grid, stage, by_node, self.timeout_s)
        names = {node: site for site, node in nodes.items()}
        replies = {}
        for node, message in answers.items():
            reply = self._read(stage, names[node], message)
            if reply is not None:
                replies[names[node]] = reply
        for site in sorted(set(requests) - set(replies)):
            self.log(f"{site} gave no answer to {stage}")
        return replies

    def _meet(self) -> None:
        """Let sites join that came late; one that cannot is left out, and said."""
        try:
            self.meeting.there()
        except TacitError as error:
            self.log(f"a site that came late is left out: {error}")

    def _read(self, stage: str, site: str, message: Message) -> Reply | None:
        if message.has_error():
            self.log(f"{site} failed in {stage} (code {message.error.code})")
            return None
        try:
            return decode_reply(stage, message.content)
        except ProtocolError as error:
            self.log(f"{site}: {error}")
            return None


class Meeting:
    """Which node is which site: asks nodes that it does not know yet, and never waits.

    Args:
        grid: Flower's connection to the nodes.
        nodes: site name -> node id, as far as known.
        roster: names that count; empty lets every name pass.
    """

    def __init__(self, grid: Grid, nodes: Mapping[str, int], roster: Collection[str] = ()) -> None:
        self.nodes = dict(nodes)
        self._grid = grid
        self._roster = frozenset(roster)
        self._asked: dict[int, float] = {}
        self._open: dict[str, int] = {}

    def there(self) -> tuple[str, ...]:
        """The sites that are connected and have said who they are, in order of their names.

        Raises:
            PolicyRefused: a node has not approved the bundle of this run.
            ProtocolError: two nodes claim one name, or a node speaks another version.
            TacitError: what a node refused to say who it is for.
        """
        online = set(self._grid.get_node_ids())
        self._hear()
        self._ask(online)
        return tuple(sorted(site for site, node in self.nodes.items() if node in online))

    def _ask(self, online: Collection[int]) -> None:
        now = time.monotonic()
        recently = {node for node, at in self._asked.items() if now - at < _HELLO_S}
        unknown = sorted(set(online) - set(self.nodes.values()) - recently)
        if not unknown:
            return
        hello = encode_request(Request("hello", {"version": VERSION}))
        asked = [Message(hello, node, MESSAGE_TYPES["hello"], ttl=_HELLO_S) for node in unknown]
        self._open |= _push(self._grid, asked)
        self._asked |= dict.fromkeys(unknown, now)

    def _hear(self) -> None:
        if not self._open:
            return
        wrong: list[TacitError] = []
        for message in self._grid.pull_messages(list(self._open)):
            node = self._open.pop(message.metadata.reply_to_message_id, None)
            try:
                if node is not None:
                    self._know(node, message)
            except TacitError as error:  # the others have said who they are, and count
                wrong.append(error)
        if wrong:
            raise wrong[0]

    def _know(self, node: int, message: Message) -> None:
        if message.has_error():
            if message.error.code == ErrorCode.INVALID_FAB:
                raise PolicyRefused(self._unapproved())
            return
        reply = decode_reply("hello", message.content)
        if reply.refused:
            said = f"Node {node} refused to say who it is: {reply.refused}."
            raise error_of({f"Node {node}": reply.refused}) or ProtocolError(said)
        site = str(reply.fields["site"])
        if reply.fields["version"] != VERSION:
            raise ProtocolError(f"{site} does not speak version {VERSION} of the messages.")
        if self.nodes.get(site, node) != node:
            raise ProtocolError(f"Two nodes say that they are {site}.")
        if not self._roster or site in self._roster:
            self.nodes[site] = node

    def _unapproved(self) -> str:
        known = ", ".join(sorted(self.nodes)) or "none yet"
        return (
            f"A site has not approved the bundle of this run (those that have: {known}): send it "
            "the one that `tacit coordinator bundle` builds."
        )


def _send(
    grid: Grid, stage: str, requests: Mapping[int, Request], timeout_s: float
) -> dict[int, Message]:
    messages = [
        Message(encode_request(request), node, MESSAGE_TYPES[stage], ttl=timeout_s)
        for node, request in requests.items()
    ]
    waiting = _push(grid, messages)
    answers: dict[int, Message] = {}
    began = time.monotonic()
    while waiting and time.monotonic() - began < timeout_s:
        for message in grid.pull_messages(list(waiting)):
            node = waiting.pop(message.metadata.reply_to_message_id, None)
            if node is not None:
                answers[node] = message
        if waiting:
            time.sleep(_pause_s(time.monotonic() - began))
    return answers


def _pause_s(lasted_s: float) -> float:
    """How long to wait before replies are asked for again: each question costs the SuperLink."""
    return min(max(_POLL_S, _POLL_SHARE * lasted_s), _LONGEST_POLL_S)


def _push(grid: Grid, messages: list[Message]) -> dict[str, int]:
    """Message id -> node, for the messages that Flower took; it says None for the others."""
    ids = grid.push_messages(messages)
    nodes = [message.metadata.dst_node_id for message in messages]
    return {key: node for key, node in zip(ids, nodes, strict=False) if key}
