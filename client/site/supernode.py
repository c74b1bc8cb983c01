"""Flower's SuperNode as a site runs it: it misses who died sooner, and sends no half answer.

Three things of Flower's have no option, so its internal modules are reached from here;
tests/test_layout.py fails when they move.

- The coordinator waits for a dead site's answer, and lets the site in again, only after two missed
  heartbeats. Flower beats every 30 s; 10 s is the least that it allows.
- The SuperNode waits as long for a dead runner: client/runner.py beats as often.
- A runner that dies while it hands over an answer leaves a part of it. Flower would wait for the
  rest for ever, and the site would take no message any more.
"""

from collections.abc import Callable
from typing import Any

from flwr.common.constant import Status
from flwr.supercore.corestate import in_memory_corestate
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supernode import fleet_http_connection, start_client_internal
from flwr.supernode.cli import flower_supernode
from flwr.supernode.nodestate.in_memory_nodestate import CLIENT_APP_CRASHED_ERROR

from client.runner import beat_often
from common.processes import plain_logs

_UNFINISHED = (Status.PENDING, Status.STARTING, Status.RUNNING)


def main() -> None:
    """Become the SuperNode; the arguments are Flower's own."""
    beat_often(fleet_http_connection, in_memory_corestate)
    start_client_internal._push_messages = whole_only(start_client_internal._push_messages)
    plain_logs()
    flower_supernode()


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
