"""One secret sum over the sites: the protocol's round, played through an Exchange."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

from common.config import Study
from common.errors import TooFewSites
from common.parameters import Arrays, model_hash
from common.refusals import ends_the_run, error_of
from common.secagg import ring
from common.secagg.progress import Follows, Keyed, Outcome, anything
from common.secagg.riding import CONFIRM_ADVERTISE
from common.secagg.ring import Decoded
from common.secagg.roster import Context, Policy
from common.secagg.round import key, sum_up, sum_up_and_key
from common.settings import config_hash
from common.wire import Request
from server.confirming import Confirming, confirmed_by
from server.exchange import Exchange, Log
from server.heads import Heads
from server.quorum import Quorum


@dataclass(frozen=True)
class Total:
    """What a sum says, who is in it, and who of the roster is not."""

    decoded: Decoded
    contributors: tuple[str, ...]
    missing: tuple[str, ...] = ()


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

    @property
    def last(self) -> int:
        """Number of the last sum they are for."""
        return self.first + self.steps - 1


class Sums:
    """Every secret sum of one run.

    Keys are made for several rounds ahead; those that come next ride on the last sum of these,
    so that after the first no sum costs more than three trips.

    Args:
        exchange: reaches the sites.
        policy: the rules of the run's sums.
        study: resolved.
        run: the run's name; it is in every signature.
        log: gets one line for each site that was dropped or blamed.
        heads: of the sites' ledgers; a site whose ledger went back is dropped by them.
        quorum: waits for sites when too few are left; None gives up at once.
        first_attempt: number of the first attempt at a round; higher each time that a run is
            taken up again, since sites take no attempt twice.
        confirming: which sites a sum that broke off was confirmed over; kept in memory by default.
    """

    def __init__(
        self,
        exchange: Exchange,
        policy: Policy,
        study: Study,
        run: str,
        log: Log,
        heads: Heads | None = None,
        quorum: Quorum | None = None,
        first_attempt: int = 0,
        confirming: Confirming | None = None,
    ) -> None:
        self.study = study
        self.exchange = exchange
        self.policy = policy
        self.run = run
        self.log = log
        self._heads = heads
        self._follows: Follows = anything if heads is None else heads.follows
        self._keys: dict[str, _Keys] = {}
        self._quorum = quorum
        self._first_attempt = first_attempt
        self._confirming = confirming or Confirming()
        self._attempts: dict[str, int] = {}
        self._tried: dict[str, int] = {}

    def over(self, task: str, number: int, model: Arrays, last: int = 0) -> Total:
        """The sum of all contributions to one task.

        Args:
            task: "statistics", "train" or "evaluate".
            number: of this sum among those of its task, from 1.
            model: what the contributions start from; sent to every site.
            last: how many sums of this task the run has: keys are made ahead up to there.

        Raises:
            TooFewSites: too few sites finished, and too few came while they were waited for.
            TacitError: a site refused for a reason that ends the run (common.refusals).
        """
        outcome = self._sum(task, number, model, last)
        if self._heads is not None:
            self._heads.keep(outcome)
        for blame in outcome.blamed:
            self.log(f"{blame.site} is blamed: {blame.reason}")
        layout = self.policy.layouts[task]
        decoded = ring.decode(layout, outcome.words_W, len(outcome.contributors))
        missing = tuple(site for site in self.policy.roster if site not in outcome.contributors)
        return Total(decoded, outcome.contributors, missing)

    def heads_text(self) -> str:
        """The newest head of each site's ledger, as the text of a heads file."""
        return "" if self._heads is None else self._heads.text()

    def _sum(self, task: str, number: int, model: Arrays, last: int) -> Outcome:
        """The outcome of a sum; one that has too few sites is tried again while they may come.

        Sites are charged when MASK is asked; a sum is broken off after that once, not twice.
        One that broke off at CONFIRM is made again over the very same sites, with keys of its own.
        """
        hashed, since, masked = model_hash(model), 0.0, 0
        while True:
            same = self._confirming.sites(task, number)
            if same and self._quorum is not None:
                self._quorum.all_of(same)
            kept = partial(self._confirming.keep, task, number)
            carrier = _Carrier(self.exchange, task, model, self.log, kept, same)
            try:
                return self._outcome(task, number, hashed, number if same else last, carrier)
            except TooFewSites as error:
                reason = error_of(carrier.refused)
                masked += carrier.was_charged
                if reason is not None:
                    raise reason from error
                if self._quorum is None or masked > 1:
                    raise
                since = since or self._quorum.now()
                self._quorum.again(error, since)
            self._keys.pop(task, None)
            self._attempts[task] = self._tried[task] + 1

    def _outcome(
        self, task: str, number: int, hashed: bytes, last: int, carrier: "_Carrier"
    ) -> Outcome:
        keys = self._keys.get(task)
        if keys is None or not keys.first <= number <= keys.last:
            context = self._context(task, number, last)
            made = key(self.policy, context, carrier, self._follows)
            keys = self._keys[task] = _Keys(made, number, context.steps)
        step = number - keys.first
        if number < keys.last or number >= last:
            return sum_up(keys.keyed, step, hashed, carrier, self._follows)
        following = self._context(task, number + 1, last)
        outcome, keyed = sum_up_and_key(keys.keyed, step, hashed, following, carrier, self._follows)
        self._renew(task, following, keyed)
        return outcome

    def _renew(self, task: str, following: Context, keyed: Keyed | None) -> None:
        """Take the keys that rode, if every site that answered made them.

        Otherwise they are asked for again by themselves: a site that refuses then says why.
        """
        if keyed is not None and not keyed.blamed:
            self._keys[task] = _Keys(keyed, following.round, following.steps)
            return
        self.log(f"keys for {task} {following.round} could not ride; they are made anew")
        del self._keys[task]
        self._attempts[task] = following.attempt + 1

    def _context(self, task: str, number: int, last: int) -> Context:
        ahead = self.study.secure_aggregation.rounds_per_key
        attempt = self._tried[task] = self._attempts.pop(task, self._first_attempt)
        return Context(
            policy_id=self.policy.policy_id,
            run=self.run,
            round=number,
            attempt=attempt,
            task=task,
            config_hash=config_hash(self.study),
            steps=max(1, min(ahead, last - number + 1)),
        )


class _Carrier:
    """Carries the protocol's bytes in requests and replies; MASK takes the model along.

    Attributes:
        refused: site -> word, of all that refused so far.
        was_charged: whether MASK was asked, so that sites have charged their ledgers.
    """

    def __init__(
        self,
        exchange: Exchange,
        task: str,
        model: Arrays,
        log: Log,
        keep: Callable[[tuple[str, ...]], None],
        only: tuple[str, ...] = (),
    ) -> None:
        self._keep = keep
        self._only = only
        self.refused: dict[str, str] = {}
        self.was_charged = False
        self._exchange = exchange
        self._task = task
        self._model = model
        self._log = log

    def __call__(self, stage: str, requests: Mapping[str, bytes]) -> dict[str, bytes]:
        self._check_same(stage, requests)
        model = self._model if stage == "mask" else {}
        self.was_charged |= stage == "mask"
        asked = {
            site: Request(stage, {"task": self._task, "body": body}, model)
            for site, body in requests.items()
            if not self._only or site in self._only
        }
        if stage in ("confirm", CONFIRM_ADVERTISE):
            self._keep(next(filter(None, (confirmed_by(stage, b) for b in requests.values())), ()))
        replies = self._exchange(stage, asked)
        self._note(stage, {site: one.refused for site, one in replies.items() if one.refused})
        return {
            site: bytes(reply.fields["body"])  # type: ignore[arg-type]
            for site, reply in replies.items()
            if not reply.refused
        }

    def _check_same(self, stage: str, left: Collection[str]) -> None:
        """Ask for no sum of fewer sites than were to confirm it: those left would have to refuse.

        Raises:
            TooFewSites: one of them was lost on the way.
        """
        lost = [site for site in self._only if site not in left]
        if lost and stage in ("share", "mask", "confirm"):
            raise TooFewSites(
                f"{stage.upper()}: this sum was to be confirmed over {', '.join(self._only)} and "
                f"can be made over these only; {', '.join(lost)} did not answer"
            )

    def _note(self, stage: str, refused: Mapping[str, str]) -> None:
        """Record who refused; raise what ends the run."""
        for site, word in sorted(refused.items()):
            self._log(f"{site} refused {stage}: {word}")
        self.refused |= refused
        error = error_of({site: word for site, word in refused.items() if ends_the_run(word)})
        if error is not None:
            raise error
