"""The whole federation in one process: the same ServerApp and ClientApp, no Ray, no network.

Two of Flower's internal modules are reached from here and nowhere else; a test fails loudly
when they move.
"""

from collections.abc import Callable, Iterable
from typing import cast

from flwr.app import Array, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from server.flwr_cli import RunConfig
from simulations.threads import one_thread

Tap = Callable[[Message], None]

_FIRST_NODE = 1000


class InProcessGrid(Grid):
    """A Grid that calls the ClientApp at once, in the same process.

    Every message passes through Flower's real serialisation, so a handler never shares an
    object with the coordinator.

    Args:
        client_app: the sites' app.
        num_nodes: how many simulated nodes.
        run_config: the run's flat configuration.
        tap: sees every message in both directions, as it crossed.
        after_stage: called when a stage's messages have been answered.
    """

    def __init__(
        self,
        client_app: ClientApp,
        num_nodes: int,
        run_config: RunConfig,
        tap: Tap | None = None,
        after_stage: Callable[[], object] = lambda: None,
    ) -> None:
        self._app = client_app
        self._after_stage = after_stage
        self._tap = tap
        self._run = Run.create_empty(run_id=1)
        self._replies: dict[str, Message] = {}
        self._sent = 0
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
        self._contexts = {
            _FIRST_NODE + index: Context(
                run_id=1,
                node_id=_FIRST_NODE + index,
                node_config={"partition-id": index, "num-partitions": num_nodes},
                state=RecordDict(),
                run_config=dict(run_config),
            )
            for index in range(num_nodes)
        }

    def set_run(self, run: Run) -> None:
        """Keep the run that Flower hands over."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run that this grid serves."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Flower's older way to make a message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Every simulated node."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Deliver each message at once and keep its reply."""
        ids = [self._deliver(message) for message in messages]
        self._after_stage()
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are there, each once."""
        return [self._replies.pop(key) for key in list(message_ids) if key in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push, then pull."""
        del timeout
        return self.pull_messages(self.push_messages(messages))

    def _deliver(self, message: Message) -> str:
        self._sent += 1
        message_id = f"message-{self._sent}"
        arrived = _cross(message)
        arrived.metadata.__dict__["_message_id"] = message_id
        if self._tap:
            self._tap(arrived)
        try:
            reply = self._app(arrived, self._contexts[message.metadata.dst_node_id])
        except Exception as error:  # as Flower's own engine does
            reason = type(error).__name__
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=arrived)
        if self._tap:
            self._tap(reply)
        self._replies[message_id] = _cross(reply)
        return message_id


def run_in_process(
    server_app: ServerApp,
    client_app: ClientApp,
    num_nodes: int,
    run_config: RunConfig,
    tap: Tap | None = None,
    after_stage: Callable[[], object] = lambda: None,
) -> None:
    """Play a whole run; whatever the ServerApp raises is raised here."""
    grid = InProcessGrid(client_app, num_nodes, run_config, tap, after_stage)
    context = Context(
        run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config=dict(run_config)
    )
    with one_thread():
        server_app(grid, context)


def every_value(message: Message) -> dict[str, object]:
    """Every value that a message carries, by record and key: what a wire-tap sees."""
    found: dict[str, object] = {}
    for name, record in message.content.items() if message.has_content() else ():
        for key, value in record.items():
            found[f"{name}.{key}"] = value.numpy() if isinstance(value, Array) else value
    return found


def _cross(message: Message) -> Message:
    """A copy through Flower's serialisation, as if it had crossed a network."""
    if message.has_error():
        return message
    objects = get_all_nested_objects(message)
    contents = {key: value.deflate() for key, value in objects.items()}
    copy = cast("Message", inflate_object_from_contents(message.object_id, contents))
    copy.metadata.__dict__["_message_id"] = message.metadata.message_id
    return copy
