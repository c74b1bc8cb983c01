"""Flower's SuperNode as a site runs it: missed sooner, whole in what it says, back again.

Six things of Flower's have no option, so its internal modules are reached from here;
tests/test_layout.py fails when they move.

- The coordinator waits for a dead site's answer, and lets the site in again, only after two missed
  heartbeats. Flower beats every 30 s; 10 s is the least that it allows.
- The SuperNode waits as long for a dead runner: client/runner.py beats as often.
- A runner that dies while it hands over an answer leaves a part of it. Flower would wait for the
  rest for ever, and the site would take no message any more.
- One heartbeat that the coordinator answers with an error, as where its database is busy, would be
  the last, and the site gone for as long as this process lives. Here the next one follows.
- A connection that ends so leaves a process that serves its runner and nobody else. Here the
  process ends, and whoever supervises it starts it again.
- The SuperNode asks for messages every 3 s, and a round has several trips. Here it asks each second
  for a minute after an answer, when the next message is likely.
"""

import logging
import math
import os
import signal
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import httpx
from flwr.common.constant import Status
from flwr.supercore.corestate import in_memory_corestate
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supernode import fleet_http_connection, start_client_internal
from flwr.supernode.nodestate.in_memory_nodestate import CLIENT_APP_CRASHED_ERROR

from client.runner import beat_often
from common.processes import plain_logs

_LOG = logging.getLogger("flwr")
_UNFINISHED = (Status.PENDING, Status.STARTING, Status.RUNNING)
ATTENTIVE_S = 60.0
"""How long after an answer the SuperNode asks for messages often."""
PAUSE_S = 1.0
"""Between two such questions."""


def main() -> None:
    """Become the SuperNode; the arguments are Flower's own."""
    beat_often(fleet_http_connection, in_memory_corestate)
    pauses = Pauses()
    vars(start_client_internal)["time"] = pauses
    push = whole_only(start_client_internal._push_messages)
    start_client_internal._push_messages = pauses.after(push)
    vars(fleet_http_connection)["HeartbeatSender"] = SteadyHeartbeat
    cli = import_module("flwr.supernode.cli.flower_supernode")
    vars(cli)["start_client_internal"] = ending(cli.start_client_internal)
    plain_logs()
    cli.flower_supernode()


class SteadyHeartbeat(HeartbeatSender):
    """Flower's heartbeats, of which none is the last while the connection stands.

    Args:
        beat: Flower's own; says whether it was heard.
    """

    def __init__(self, beat: Callable[[], bool]) -> None:
        def steadily() -> bool:
            try:
                return beat()
            except httpx.HTTPError as error:
                _LOG.warning("The coordinator did not take a heartbeat: %s", error)
                return False
            except RuntimeError as error:
                _LOG.error("Starts anew, since a heartbeat found no place: %s", error)
                _end()
                return True

        super().__init__(steadily)


class Pauses:
    """In place of the clock of Flower's loop, which asks it for pauses alone: short ones in a run.

    Args:
        clock: seconds, for tests.
        sleep: for tests.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._answered = -math.inf

    def sleep(self, seconds: float) -> None:
        """Pause for so long, or shorter while the next message is likely."""
        is_attentive = self._clock() - self._answered < ATTENTIVE_S
        self._sleep(min(seconds, PAUSE_S) if is_attentive else seconds)

    def after(self, push: Callable[..., None]) -> Callable[..., None]:
        """Flower's loop that sends answers; each one makes attentive."""

        def push_and_note(**given: Any) -> None:
            push(**given)
            self._answered = self._clock()

        return push_and_note


def ending(connection: Callable[..., None]) -> Callable[..., None]:
    """Flower's connection to the coordinator, after which the process ends as well."""

    def connect_and_end(**given: Any) -> None:
        try:
            connection(**given)
        finally:
            _end()

    return connect_and_end


def _end() -> None:
    """End this process as an operator would: Flower then signs off."""
    os.kill(os.getpid(), signal.SIGTERM)


def whole_only(push: Callable[..., None]) -> Callable[..., None]:
    """Flower's loop that sends answers, given those alone that came from the runner as a whole."""

    def push_whole(state: Any, object_store: Any, **given: Any) -> None:
        push(state=Answers(state, object_store), object_store=object_store, **given)

    return push_whole


class Answers:
    """The SuperNode's state, in which an answer shows once every part of it has come.

    Args:
        state: the SuperNode's own.
        store: holds the parts of messages.
    """

    def __init__(self, state: Any, store: Any) -> None:
        self._state, self._store = state, store
        self._begun: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        """Everything else is the state's own."""
        return getattr(self._state, name)

    def get_messages_legacy(self, **wanted: Any) -> list[Any]:
        """The answers that are whole; in place of one that nobody will finish, that it failed."""
        found = [*self._begun, *self._state.get_messages_legacy(**wanted)]
        is_working = self._state.get_tasks(statuses=_UNFINISHED)
        whole = [message for message in found if self._is_whole(message)]
        self._begun = [message for message in found if message not in whole]
        if not is_working:
            self._give_up()
        return whole

    def _is_whole(self, message: Any) -> bool:
        tree = self._store.get_object_tree(message.metadata.message_id)
        return all(self._store.get(part.object_id) for part in iterate_object_tree(tree))

    def _give_up(self) -> None:
        """Take away what was begun; Flower then answers in its place that the runner crashed."""
        for message in self._begun:
            self._state.delete_messages(message_ids=[message.metadata.message_id])
            self._store.delete(message.metadata.message_id)
            self._state._store_error_replies({message.metadata.run_id}, CLIENT_APP_CRASHED_ERROR)
        self._begun = []


if __name__ == "__main__":
    main()
