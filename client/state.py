"""The protocol's state between two messages of a run, in Flower's context.

Each task (training, evaluation, statistics) has its own, since keys are made for several rounds
ahead. It lives as long as the run; the next message may be answered by another process. What must
survive a restart (ledger, locks) is in the site's own files instead. The last state of a round
holds no secret.
"""

from flwr.app import ConfigRecord, Context

from common.secagg.states import State, dump
from common.secagg.states import load as load_state

_RECORD = "secagg-"


def load(context: Context, task: str) -> State | None:
    """The state of a task after its last message, or None before the first."""
    record = context.state.config_records.get(_RECORD + task)
    return load_state(bytes(record["state"])) if record is not None else None  # type: ignore[arg-type]


def store(context: Context, task: str, state: State | None) -> None:
    """Keep a task's state until its next message; the one before is gone."""
    if state is not None:
        context.state[_RECORD + task] = ConfigRecord({"state": dump(state)})
