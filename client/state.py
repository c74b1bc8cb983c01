"""The protocol's state between two messages of a run, in Flower's context.

Each task (training, evaluation, statistics) has its own, since keys are made for several rounds
ahead. It lives as long as the run; the next message may be answered by another process. What must
survive a restart (ledger, locks) is in the site's own files instead. The last state of a round
holds no secret.
"""

from flwr.app import ConfigRecord, Context

from common.secagg.riding import Riding
from common.secagg.states import dump
from common.secagg.states import load as load_state

_RECORD = "secagg-"


def load(context: Context, task: str) -> Riding:
    """The states of a task after its last message; of the next round's keys where they ride."""
    record = context.state.config_records.get(_RECORD + task)
    found = {name: load_state(bytes(data)) for name, data in (record or {}).items()}  # type: ignore[arg-type]
    return Riding(**found)


def store(context: Context, task: str, states: Riding) -> None:
    """Keep a task's states until its next message; those before are gone."""
    kept = {"ending": states.ending, "beginning": states.beginning}
    dumps = {name: dump(state) for name, state in kept.items() if state is not None}
    if dumps:
        context.state[_RECORD + task] = ConfigRecord({**dumps})


def round_of(context: Context, task: str) -> int:
    """The round that a task is in; 0 where it has not begun."""
    states = load(context, task)
    now = states.ending or states.beginning
    return 0 if now is None else now.context.round + int(getattr(now, "step", 0))
