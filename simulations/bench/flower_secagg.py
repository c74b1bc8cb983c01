"""Flower's own SecAgg+ and FedAvg, run in this process as the baseline of the benchmark.

The real SecAggPlusWorkflow and the real secaggplus_mod of Flower 1.41, joined by a Grid
without a network. They are legacy API and reach into Flower's internals: this is the one
file that does, and it is used for measuring only.
"""

import copy
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from time import process_time
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.app.message import make_message
from flwr.client import ClientApp, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters
from flwr.compat.common import recorddict_compat as compat
from flwr.server import LegacyContext, ServerConfig, SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.strategy.aggregate import aggregate_inplace
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import WorkflowState
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from common.errors import EnvironmentFault

CLIPPING_RANGE = 8.0
MAX_WEIGHT = 1000.0
SHARE, MASK = 1, 2
"""Stages of a client: dealing shares and keys; quantising, masking and serialising."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one round; of a client, the least of all clients.

    Args:
        client_share_s: dealing shares and keys.
        client_mask_s: quantising, masking and serialising a vector.
        server_s: adding up, recovering and decoding; of Flower, all that its server does.
        upload_bytes: of one masked vector.
        client_round_s: all stages of a client.
        server_round_s: all stages of the server.
    """

    client_share_s: float
    client_mask_s: float
    server_s: float
    upload_bytes: int
    client_round_s: float
    server_round_s: float


class _Client(NumPyClient):
    """Returns the same update whatever it is asked."""

    def __init__(self, update: np.ndarray, weight: int) -> None:
        self.update, self.weight = update, weight

    def fit(self, parameters: Any, config: Any) -> Any:
        """Return the update."""
        return [self.update], self.weight, {}


class _Enough(Exception):
    """What was to be measured has been."""


class _Local(Grid):
    """Carries messages to client apps in this process, and takes the time that they need."""

    def __init__(self, app: ClientApp, nodes: list[int], lost: frozenset[int]) -> None:
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
        self.app, self.lost = app, lost
        self.contexts = {
            node: Context(1, node, {"partition-id": i}, RecordDict(), {})
            for i, node in enumerate(nodes)
        }
        self.stage = 0
        self.until = (-1, 0)
        self.least_s = [float("inf")] * 4
        self.upload_bytes = 0
        self.clients_s = 0.0
        self._run = Run.create_empty(run_id=1)

    def set_run(self, run: Any) -> None:
        """Take the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        """Is abstract in Grid; SecAgg+ never calls it."""
        raise NotImplementedError

    def get_node_ids(self) -> list[int]:
        """Return all nodes."""
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Is abstract in Grid; SecAgg+ never calls it."""
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Is abstract in Grid; SecAgg+ never calls it."""
        raise NotImplementedError

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Return the replies of those that are there; from MASK on, the lost are not."""
        replies, started = [], process_time()
        for i, message in enumerate(messages):
            node = message.metadata.dst_node_id
            if self.stage >= 2 and node in self.lost:
                continue
            message.metadata.__dict__["_message_id"] = f"{self.stage}-{i}"
            fresh = _copied(message)
            before = process_time()
            replies.append(self.app(fresh, self.contexts[node]))
            self.least_s[self.stage] = min(self.least_s[self.stage], process_time() - before)
            if self.until == (self.stage, len(replies)):
                raise _Enough
        if self.stage == 2:
            self.upload_bytes = _size(replies[0])
        self.stage += 1
        self.clients_s += process_time() - started
        return replies


def _copied(message: Message) -> Message:
    """Return the message with records of its own: the mod takes keys out of them."""
    content = RecordDict(
        {
            key: ConfigRecord(dict(value)) if isinstance(value, ConfigRecord) else value
            for key, value in message.content.items()
        }
    )
    return make_message(metadata=copy.copy(message.metadata), content=content)


def _size(message: Message) -> int:
    """Return the bytes of all values of a message's records."""
    values = [v for record in message.content.config_records.values() for v in record.values()]
    flat = [x for v in values for x in (v if isinstance(v, list) else [v])]
    return sum(len(x) for x in flat if isinstance(x, bytes))


def secagg_plus(sites: int, parameters: int, lost: int = 0, seed: int = 0) -> Cost:
    """Return what one round of Flower's SecAgg+ costs.

    Args:
        sites: clients; each shares with all others.
        parameters: float32 values of an update.
        lost: clients that are gone from the masked stage on.
        seed: of the updates.

    Raises:
        EnvironmentFault: Flower's workflow did not finish.
    """
    grid = _grid(sites, parameters, lost, seed)
    started = process_time()
    _play(grid, parameters)
    server_s = process_time() - started - grid.clients_s
    return Cost(
        grid.least_s[SHARE],
        grid.least_s[MASK],
        server_s,
        grid.upload_bytes,
        sum(grid.least_s),
        server_s,
    )


def client_s(sites: int, parameters: int, stage: int, clients: int) -> float:
    """Return the CPU seconds of a client in one stage; the round is broken off there.

    Args:
        sites: clients; each shares with all others.
        parameters: float32 values of an update.
        stage: SHARE or MASK.
        clients: that play this stage; the least of theirs is returned.

    Raises:
        EnvironmentFault: Flower's workflow did not come so far.
    """
    grid = _grid(sites, parameters)
    grid.until = (stage, clients)
    with suppress(_Enough):
        _play(grid, parameters)
    return grid.least_s[stage]


def _grid(sites: int, parameters: int, lost: int = 0, seed: int = 0) -> _Local:
    """Return clients with an update each, and what carries messages to them."""
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    rng = np.random.default_rng(seed)
    nodes = [int(x) for x in rng.integers(1, 1 << 62, sites)]
    update = rng.normal(0, 0.5, parameters).astype(np.float32)
    app = ClientApp(
        client_fn=lambda context: _Client(update, 100).to_client(), mods=[secaggplus_mod]
    )
    return _Local(app, nodes, frozenset(nodes[:lost]))


def _play(grid: _Local, parameters: int) -> None:
    """Run the four stages of the workflow once."""
    nodes = grid.get_node_ids()
    clients = SimpleClientManager()
    for node in nodes:
        clients.register(GridClientProxy(node, grid, 1))
    strategy = FedAvg(
        fraction_fit=1.0, min_fit_clients=len(nodes), min_available_clients=len(nodes)
    )
    context = LegacyContext(
        Context(1, 1, {}, RecordDict(), {}), ServerConfig(num_rounds=1), strategy, clients
    )
    zeros = ndarrays_to_parameters([np.zeros(parameters, np.float32)])
    context.state.config_records["config"] = ConfigRecord({"current_round": 1})
    context.state.array_records["parameters"] = compat.parameters_to_arrayrecord(zeros, True)
    workflow = SecAggPlusWorkflow(
        num_shares=1.0,
        reconstruction_threshold=0.6,
        max_weight=MAX_WEIGHT,
        clipping_range=CLIPPING_RANGE,
    )
    state = WorkflowState()
    for stage in (
        workflow.setup_stage,
        workflow.share_keys_stage,
        workflow.collect_masked_vectors_stage,
        workflow.unmask_stage,
    ):
        if not stage(grid, context, state):
            raise EnvironmentFault(f"Flower's SecAgg+ stopped in {stage.__name__}")


def fedavg_s(sites: int, parameters: int, seed: int = 0) -> float:
    """Return the CPU seconds of Flower's plaintext in-place FedAvg over that many updates."""
    rng = np.random.default_rng(seed)
    fine = Status(Code.OK, "")
    results: Any = [
        (None, FitRes(fine, ndarrays_to_parameters([update]), 100, {}))
        for update in rng.normal(0, 0.5, (sites, parameters)).astype(np.float32)
    ]
    started = process_time()
    aggregate_inplace(results)
    return process_time() - started
