"""How requests reach sites and replies come back: Exchange = (stage, requests) -> replies.

A drop-out is an absent key. The same function serves the in-process grid, Flower's simulation
and its deployment engine; only the Grid behind it differs.
"""

import time
from collections.abc import Callable, Mapping

from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from common.errors import PolicyRefused, ProtocolError, TooFewSites
from common.refusals import error_of
from common.wire import (
    MESSAGE_TYPES,
    VERSION,
    Reply,
    Request,
    decode_reply,
    encode_request,
)

Exchange = Callable[[str, Mapping[str, Request]], dict[str, Reply]]
Log = Callable[[str], None]

_POLL_S = 0.05


class GridExchange:
    """An Exchange over a Flower Grid.

    Args:
        grid: Flower's connection to the nodes.
        nodes: site name -> node id.
        timeout_s: how long to wait for the replies of one stage.
        log: gets one line for each site that did not answer properly.
    """

    def __init__(self, grid: Grid, nodes: Mapping[str, int], timeout_s: float, log: Log) -> None:
        self.grid = grid
        self.nodes = dict(nodes)
        self.timeout_s = timeout_s
        self.log = log

    def __call__(self, stage: str, requests: Mapping[str, Request]) -> dict[str, Reply]:
        """Send each site its request; the replies of those that answered in time."""
        known = [site for site in requests if site in self.nodes]
        by_node = {self.nodes[site]: requests[site] for site in known}
        answers = _send(self.grid, stage, by_node, self.timeout_s)
        names = {node: site for site, node in self.nodes.items()}
        replies = {}
        for node, message in answers.items():
            reply = self._read(stage, names[node], message)
            if reply is not None:
                replies[names[node]] = reply
        for site in sorted(set(requests) - set(replies)):
            self.log(f"{site} gave no answer to {stage}")
        return replies

    def _read(self, stage: str, site: str, message: Message) -> Reply | None:
        if message.has_error():
            self.log(f"{site} failed in {stage} (code {message.error.code})")
            return None
        try:
            return decode_reply(stage, message.content)
        except ProtocolError as error:
            self.log(f"{site}: {error}")
            return None


def discover(grid: Grid, num_sites: int, timeout_s: float) -> dict[str, int]:
    """Site name -> node id, once that many nodes have said who they are.

    Raises:
        TooFewSites: fewer nodes than asked for came up in time.
        ProtocolError: two nodes claim one name, or a node speaks another version.
    """
    deadline = time.monotonic() + timeout_s
    while len(nodes := list(grid.get_node_ids())) < num_sites:
        if time.monotonic() > deadline:
            raise TooFewSites(f"{len(nodes)} of {num_sites} sites came up in {timeout_s:g} s.")
        time.sleep(_POLL_S)
    hello = {node: Request("hello", {"version": VERSION}) for node in nodes}
    answers = _send(grid, "hello", hello, max(1.0, deadline - time.monotonic()))
    return _names(answers, num_sites)


def _names(answers: Mapping[int, Message], num_sites: int) -> dict[str, int]:
    names: dict[str, int] = {}
    for node, message in answers.items():
        if message.has_error():
            continue
        reply = decode_reply("hello", message.content)
        if reply.refused:
            said = f"Node {node} refused to say who it is: {reply.refused}."
            raise error_of({f"Node {node}": reply.refused}) or ProtocolError(said)
        site = str(reply.fields["site"])
        if reply.fields["version"] != VERSION:
            raise ProtocolError(f"{site} does not speak version {VERSION} of the messages.")
        if site in names:
            raise ProtocolError(f"Two nodes say that they are {site}.")
        names[site] = node
    _enough(answers, len(names), num_sites)
    return dict(sorted(names.items()))


def _enough(answers: Mapping[int, Message], there: int, num_sites: int) -> None:
    codes = [message.error.code for message in answers.values() if message.has_error()]
    refused = codes.count(ErrorCode.INVALID_FAB)
    if refused:
        raise PolicyRefused(
            f"{refused} of {num_sites} sites have not approved the bundle of this run: send them "
            "the one that `tacit coordinator bundle` builds."
        )
    if there < num_sites:
        raise TooFewSites(f"{there} of {num_sites} sites answered to hello.")


def _send(
    grid: Grid, stage: str, requests: Mapping[int, Request], timeout_s: float
) -> dict[int, Message]:
    messages = [
        Message(encode_request(request), node, MESSAGE_TYPES[stage], ttl=timeout_s)
        for node, request in requests.items()
    ]
    waiting = _push(grid, messages)
    answers: dict[int, Message] = {}
    deadline = time.monotonic() + timeout_s
    while waiting and time.monotonic() < deadline:
        for message in grid.pull_messages(list(waiting)):
            node = waiting.pop(message.metadata.reply_to_message_id, None)
            if node is not None:
                answers[node] = message
        if waiting:
            time.sleep(_POLL_S)
    return answers


def _push(grid: Grid, messages: list[Message]) -> dict[str, int]:
    """Message id -> node, for the messages that Flower took; it says None for the others."""
    ids = grid.push_messages(messages)
    nodes = [message.metadata.dst_node_id for message in messages]
    return {key: node for key, node in zip(ids, nodes, strict=False) if key}
