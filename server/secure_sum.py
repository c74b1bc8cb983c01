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
from common.secagg.ring import Decoded
from common.secagg.roster import Context, Policy
from common.secagg.round import play
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
class Sums:
    """Everything that the rounds of one run have in common.

    Args:
        exchange: reaches the sites.
        policy: the rules of the run's sums.
        study: resolved.
        run: the run's name; it is in every signature.
        log: gets one line for each site that was dropped or blamed.
    """

    exchange: Exchange
    policy: Policy
    study: Study
    run: str
    log: Log

    def over(self, task: str, round_: int, model: Arrays, attempt: int = 0) -> Total:
        """The sum of all contributions to one task.

        Args:
            task: "statistics", "train" or "evaluate".
            round_: number of the round.
            model: what the contributions start from; sent to every site.
            attempt: counts the tries at this round.

        Raises:
            TooFewSites: too few sites finished.
            PolicyRefused, BudgetSpent, LedgerError, DataError, ConfigError: a site refused
                for a reason that more tries would not change.
        """
        context = Context(
            self.policy.policy_id,
            self.run,
            round_,
            attempt,
            task,
            config_hash(self.study),
            model_hash(model),
        )
        outcome = play(self.policy, context, _Carrier(self.exchange, model, self.log))
        for blame in outcome.blamed:
            self.log(f"{blame.site} is blamed: {blame.reason}")
        layout = self.policy.layouts[task]
        decoded = ring.decode(layout, outcome.words_W, len(outcome.contributors))
        return Total(decoded, outcome.contributors)


class _Carrier:
    """Carries the protocol's bytes in requests and replies; MASK takes the model along."""

    def __init__(self, exchange: Exchange, model: Arrays, log: Log) -> None:
        self._exchange = exchange
        self._model = model
        self._log = log

    def __call__(self, stage: str, requests: Mapping[str, bytes]) -> dict[str, bytes]:
        model = self._model if stage == "mask" else {}
        asked = {site: Request(stage, {"body": body}, model) for site, body in requests.items()}
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
