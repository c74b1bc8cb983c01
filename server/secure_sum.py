"""One secret sum over the sites: the protocol's round, played through an Exchange."""

from collections.abc import Mapping
from dataclasses import dataclass

from common.config import Study
from common.errors import (
    BudgetSpent,
    ConfigError,
    DataError,
    LedgerError,
    PolicyRefused,
    TacitError,
)
from common.parameters import Arrays, model_hash
from common.secagg import ring
from common.secagg.progress import Keyed
from common.secagg.ring import Decoded
from common.secagg.roster import Context, Policy
from common.secagg.round import key, sum_up
from common.settings import config_hash
from common.wire import Request
from server.exchange import Exchange, Log

_ENDS_THE_RUN: dict[str, type[TacitError]] = {
    "policy": PolicyRefused,
    "budget": BudgetSpent,
    "ledger": LedgerError,
    "data": DataError,
    "config": ConfigError,
}
_SAYS = {
    "policy": "{site} refused: its policy does not allow this.",
    "budget": "The privacy cap of {site} is met: it refused before any data was read.",
    "ledger": "{site} refused: its privacy ledger cannot be used.",
    "data": "{site} refused: its recordings cannot be used; its own log says why.",
    "config": "{site} refused: the study or its own set-up does not fit; its own log says why.",
}


@dataclass(frozen=True)
class Total:
    """What a sum says, and who is in it."""

    decoded: Decoded
    contributors: tuple[str, ...]


@dataclass(frozen=True)
class _Keys:
    """Keys that were made for several sums of one task.

    Args:
        keyed: what the protocol holds.
        first: number of the first sum they are for.
        steps: for how many.
    """

    keyed: Keyed
    first: int
    steps: int


class Sums:
    """Every secret sum of one run; keys are made for several rounds ahead.

    Args:
        exchange: reaches the sites.
        policy: the rules of the run's sums.
        study: resolved.
        run: the run's name; it is in every signature.
        log: gets one line for each site that was dropped or blamed.
    """

    def __init__(
        self, exchange: Exchange, policy: Policy, study: Study, run: str, log: Log
    ) -> None:
        self.study = study
        self.exchange = exchange
        self.policy = policy
        self.run = run
        self.log = log
        self._keys: dict[str, _Keys] = {}

    def over(self, task: str, number: int, model: Arrays, last: int = 0) -> Total:
        """The sum of all contributions to one task.

        Args:
            task: "statistics", "train" or "evaluate".
            number: of this sum among those of its task, from 1.
            model: what the contributions start from; sent to every site.
            last: how many sums of this task the run has: keys are made ahead up to there.

        Raises:
            TooFewSites: too few sites finished.
            PolicyRefused, BudgetSpent, LedgerError, DataError, ConfigError: a site refused
                for a reason that more tries would not change.
        """
        carrier = _Carrier(self.exchange, task, model, self.log)
        keys = self._keys.get(task)
        if keys is None or number >= keys.first + keys.steps:
            keys = self._keys[task] = self._make_keys(task, number, last, carrier)
        outcome = sum_up(keys.keyed, number - keys.first, model_hash(model), carrier)
        for blame in outcome.blamed:
            self.log(f"{blame.site} is blamed: {blame.reason}")
        layout = self.policy.layouts[task]
        decoded = ring.decode(layout, outcome.words_W, len(outcome.contributors))
        return Total(decoded, outcome.contributors)

    def _make_keys(self, task: str, number: int, last: int, carrier: "_Carrier") -> _Keys:
        ahead = self.study.secure_aggregation.rounds_per_key
        steps = max(1, min(ahead, last - number + 1))
        context = Context(
            policy_id=self.policy.policy_id,
            run=self.run,
            round=number,
            attempt=0,
            task=task,
            config_hash=config_hash(self.study),
            steps=steps,
        )
        return _Keys(key(self.policy, context, carrier), number, steps)


class _Carrier:
    """Carries the protocol's bytes in requests and replies; MASK takes the model along."""

    def __init__(self, exchange: Exchange, task: str, model: Arrays, log: Log) -> None:
        self._exchange = exchange
        self._task = task
        self._model = model
        self._log = log

    def __call__(self, stage: str, requests: Mapping[str, bytes]) -> dict[str, bytes]:
        model = self._model if stage == "mask" else {}
        asked = {
            site: Request(stage, {"task": self._task, "body": body}, model)
            for site, body in requests.items()
        }
        replies = self._exchange(stage, asked)
        for site, reply in sorted(replies.items()):
            if reply.refused in _ENDS_THE_RUN:
                raise _ENDS_THE_RUN[reply.refused](_SAYS[reply.refused].format(site=site))
            if reply.refused:
                self._log(f"{site} refused {stage}: {reply.refused}")
        return {
            site: bytes(reply.fields["body"])  # type: ignore[arg-type]
            for site, reply in replies.items()
            if not reply.refused
        }
