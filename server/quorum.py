"""Who is there, who is waited for, and how long: never a silent success on too few sites."""

import time
from collections.abc import Callable, Collection

from common.errors import TooFewSites

GRACE_S = 60.0
WAIT_S = 300.0
_PAUSE_S = 0.2
_BETWEEN_S = 2.0

There = Callable[[], tuple[str, ...]]


class Quorum:
    """Waits for sites at the start of a run, and again when a round has too few of them.

    Args:
        there: says which sites are there now.
        roster: the names of all sites.
        fewest: sites without which nothing is summed.
        log: gets one line whenever somebody is waited for, or left out.
        wait_s: how long too few sites are waited for before the run stops.
        grace_s: how long the rest is waited for, once there are enough.
        clock: seconds, for tests.
        sleep: for tests.
    """

    def __init__(
        self,
        there: There,
        roster: Collection[str],
        fewest: int,
        log: Callable[[str], None],
        *,
        wait_s: float = WAIT_S,
        grace_s: float = GRACE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._there = there
        self._roster = tuple(sorted(roster))
        self._fewest = fewest
        self._log = log
        self._wait_s = wait_s
        self._grace_s = min(grace_s, wait_s)
        self._clock = clock
        self._sleep = sleep

    def gather(self) -> tuple[str, ...]:
        """The sites that a run starts with: all of the roster, or after a while enough of it.

        Raises:
            TooFewSites: fewer than the fewest came; names who is missing.
        """
        began, there = self._clock(), self._there()
        while self._is_worth_waiting(len(there), self._clock() - began):
            self._sleep(_PAUSE_S)
            there = self._there()
        if len(there) < self._fewest:
            raise TooFewSites(self._said(there))
        missing = self.missing(there)
        if missing:
            later = "they may join when keys are made next"
            self._log(f"starts without {', '.join(missing)}; {later}")
        return there

    def again(self, error: TooFewSites, since: float) -> None:
        """Return when a round that had too few sites is worth another attempt.

        Args:
            error: what the round ended with.
            since: when it first did, by this object's clock.

        Raises:
            TooFewSites: the time is over; names who is missing.
        """
        self._log(f"waits for sites: {error}")
        self._sleep(_BETWEEN_S)
        while self._clock() - since < self._wait_s:
            if len(self._there()) >= self._fewest:
                return
            self._sleep(_PAUSE_S)
        raise TooFewSites(f"{self._said(self._there())} The round ended with: {error}") from error

    def all_of(self, sites: Collection[str]) -> None:
        """Return when all of these sites are there: a sum that they confirmed needs each of them.

        Raises:
            TooFewSites: the time is over; names who is missing.
        """
        began = self._clock()
        while missing := sorted(set(sites) - set(self._there())):
            if self._clock() - began > self._wait_s:
                raise TooFewSites(
                    f"A sum broke off after it was to be confirmed over {', '.join(sites)}: it "
                    f"can be made again over these only, and {', '.join(missing)} did not come in "
                    f"{self._wait_s:g} s. Once up, take the run up again: tacit coordinator resume."
                )
            self._sleep(_PAUSE_S)

    def now(self) -> float:
        """This object's clock."""
        return self._clock()

    def missing(self, there: Collection[str]) -> tuple[str, ...]:
        """The sites of the roster that are not among these."""
        return tuple(name for name in self._roster if name not in there)

    def _is_worth_waiting(self, there: int, waited_s: float) -> bool:
        if there >= len(self._roster):
            return False
        return waited_s < (self._grace_s if there >= self._fewest else self._wait_s)

    def _said(self, there: tuple[str, ...]) -> str:
        return (
            f"{len(there)} of {len(self._roster)} sites are there after {self._wait_s:g} s; at "
            f"least {self._fewest} are needed. Missing: {', '.join(self.missing(there)) or 'none'}."
            " Once they are up, take the run up again: tacit coordinator resume."
        )
