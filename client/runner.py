"""The runner: one process at a site that answers a SuperNode's tasks, in place of Flower's own.

Flower would unpack the coordinator's bundle and run it, in a new process for every message. The
runner takes the bundle's hash only: if the site has approved it, the code that is INSTALLED at
the site answers, in this process, which keeps model and recordings warm. No exception's text
leaves; a handler that takes long beats while it works.

This and client/site/supernode.py are the two places at a site that reach into Flower's internals;
tests/test_layout.py fails when they move.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import httpx
from flwr.app import Context, Message
from flwr.app.error import Error
from flwr.common.constant import ErrorCode, SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, SendTaskHeartbeatRequest
from flwr.supercore import heartbeat
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from common.errors import PolicyRefused

App = Callable[[Message, Context], Message]
Place = Callable[[Message, Context], tuple[str, int]]
Approved = Callable[[str], bool]

POLL_S, IDLE_POLL_S = 0.1, 0.5
IDLE_AFTER_S = 60.0
"""Without a task for so long, tasks are asked for less often."""
LONGEST_WAIT_S = 10.0
INTERVAL_S = 10
"""Between two heartbeats, at most; whoever misses two is taken for dead."""
_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
_COMPONENT = "flwr-clientapp"
_FIXED = "the site's own log says why"
"""All that leaves of an error: not even its type, whose name could be anything."""


class Report(Protocol):
    """Takes what happens: "answered", "idle", "waiting", "failed" …

    The detail is a message's type, a bundle's hash or an exception's type; study and round are
    given with an answer.
    """

    def __call__(self, event: str, detail: str, study: str = "", number: int = 0) -> None:
        """Take one thing that happened."""


@dataclass(frozen=True)
class Desk:
    """Where tasks come from, and what answers them.

    Args:
        runtime: HOST:PORT of the SuperNode's runtime API, on the loopback.
        secret: shared with the SuperNode; whoever lacks it gets no task.
        root: of the site's folder.
        app: answers a message; raises nothing that holds data.
        approved: says whether the site has approved a bundle, by its SHA-256.
        report: gets each thing that happens.
        place: study and round of a message that was answered.
    """

    runtime: str
    secret: bytes
    root: Path
    app: App
    approved: Approved
    report: Report
    place: Place


def serve(desk: Desk, stopped: Callable[[], bool]) -> None:
    """Answer tasks until told to stop; waits for a SuperNode that is not there yet.

    Args:
        desk: where tasks come from.
        stopped: asked between two tasks, and while waiting.
    """
    signer = SuperExecAuthHttpInterceptor(
        master_secret=desk.secret, protected_methods=frozenset({_ACQUIRE})
    )
    wait_s, worked = POLL_S, time.monotonic()
    with contextlib.closing(_client(desk.runtime, signer)) as client:
        while not stopped():
            try:
                token = _next_task(client)
                wait_s = POLL_S
            except httpx.HTTPError as error:
                desk.report("waiting", type(error).__name__)
                wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
                time.sleep(wait_s)
                continue
            if token:
                _take(desk, token)
                worked = time.monotonic()
            else:
                desk.report("idle", "")
                time.sleep(pause_s(time.monotonic() - worked))


def pause_s(idle_s: float) -> float:
    """How long to wait before the next task is asked for; each question costs both processes."""
    return POLL_S if idle_s < IDLE_AFTER_S else IDLE_POLL_S


def beat_often(*modules: ModuleType) -> None:
    """Have Flower beat three times as often in this process; it has no option for it.

    Args:
        modules: of Flower's that hold the interval, besides the one that beats.

    Raises:
        ImportError: one of them does not hold it any more.
    """
    for module in (heartbeat, *modules):
        if not hasattr(module, "HEARTBEAT_DEFAULT_INTERVAL"):
            raise ImportError(f"{module.__name__} has no HEARTBEAT_DEFAULT_INTERVAL any more")
        vars(module)["HEARTBEAT_DEFAULT_INTERVAL"] = INTERVAL_S


def _next_task(client: RuntimeHttpClient) -> str:
    request = AcquireTaskRequest(supported_task_types=[_COMPONENT])
    return str(client.AcquireTask(request).token)


def _take(desk: Desk, token: str) -> None:
    """Answer one task; a SuperNode that goes away meanwhile ends the task, not the runner."""
    try:
        with contextlib.closing(_client(desk.runtime, RuntimeTokenHttpInterceptor(token))) as c:
            _answer(desk, c)
    except (httpx.HTTPError, RuntimeError) as error:
        desk.report("task lost", type(error).__name__)


def _answer(desk: Desk, client: RuntimeHttpClient) -> None:
    with _beating(client):
        message, context, run, bundle = pull_task_input(client)
        context.node_config = {**context.node_config, "site-dir": str(desk.root)}
        try:
            _check_bundle(desk.approved, run.fab_hash, bundle.content)
            reply, status = desk.app(message, context), SubStatus.COMPLETED
            desk.report("answered", message.metadata.message_type, *desk.place(message, context))
        except Exception as error:
            refused = isinstance(error, PolicyRefused)
            code = ErrorCode.INVALID_FAB if refused else ErrorCode.CLIENT_APP_RAISED_EXCEPTION
            reply = Message(Error(code, _FIXED), reply_to=message)
            status = SubStatus.FAILED
            desk.report("bundle refused" if refused else "failed", _said(error, run.fab_hash))
        push_message(client, reply, context)
        push_task_output(client, context, status, "")


def _said(error: Exception, fab_hash: str) -> str:
    return str(fab_hash)[:64] if isinstance(error, PolicyRefused) else type(error).__name__


def _check_bundle(approved: Approved, claimed: str, content: bytes) -> None:
    """Hold a bundle to the site's list, by the hash of what came and not of what is claimed.

    Raises:
        PolicyRefused: the bundle is not what it claims to be, or is not on the list.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != claimed or not approved(found):
        raise PolicyRefused("The bundle is not one that this site has approved.")


@contextlib.contextmanager
def _beating(client: RuntimeHttpClient) -> Iterator[None]:
    """Tell the SuperNode that the task is alive, from a thread of its own."""

    def beat() -> bool:
        try:
            client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
        except httpx.HTTPError:
            return False
        return True

    sender = HeartbeatSender(beat)
    sender.start()
    try:
        yield
    finally:
        sender.stop()


def _client(runtime: str, interceptor: Any) -> RuntimeHttpClient:
    retries = make_simple_http_retry_invoker()
    retries.max_tries = 3
    return RuntimeHttpClient.from_server_address(
        server_address=runtime,
        insecure=True,
        root_certificates=None,
        interceptors=[RuntimeVersionHttpInterceptor(component_name=_COMPONENT), interceptor],
        retry_invoker=retries,
    )
