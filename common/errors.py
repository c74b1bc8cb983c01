"""The whole error tree: a type says who is at fault.

Every message says what was expected, what came, where, and what to do next; it never
holds a secret or a person's value. Raise deep; catch in the round loop and at the
command line only.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a `tacit` command returns to the shell."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    PRIVACY = 3
    POLICY = 4
    INTERRUPTED = 130


class TacitError(Exception):
    """Any error that Tacit raises on purpose; its text is meant for a person to read."""

    exit_code = ExitCode.FAILED


class ConfigError(TacitError):
    """A study, a policy or an option is wrong: whoever wrote it has to change it."""

    exit_code = ExitCode.BAD_INPUT


class DataError(TacitError):
    """A manifest or a recording is wrong: the site has to mend it."""

    exit_code = ExitCode.BAD_INPUT


class EnvironmentFault(TacitError):
    """The machine is at fault: a port is taken, a disk is full, a program is missing."""


class PolicyRefused(TacitError):
    """A site's policy does not allow what was asked."""

    exit_code = ExitCode.POLICY


class QuietHours(PolicyRefused):
    """A site's policy lets nothing begin at this hour; it will later."""


class PrivacyError(TacitError):
    """Going on would break a privacy guarantee."""

    exit_code = ExitCode.PRIVACY


class BudgetSpent(PrivacyError):
    """The step asked for would exceed a person's or a study's budget."""


class LedgerError(PrivacyError):
    """The ledger is damaged, was put back to an older state, or cannot be written.

    Args:
        text: what is wrong, and what to do.
        entry: number of the first bad entry, where one can be named.
    """

    def __init__(self, text: str = "", entry: int | None = None) -> None:
        super().__init__(text)
        self.entry = entry


class ProtocolError(TacitError):
    """A message breaks the secure-aggregation protocol."""


class PeerMisbehaved(ProtocolError):
    """One peer sent something wrong: drop that peer.

    Args:
        peer: the site (or "coordinator") whose message was wrong.
        reason: what was expected and what came.
    """

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(f"{peer}: {reason}")
        self.peer = peer
        self.reason = reason


class TooFewSites(ProtocolError):
    """Not enough sites are left to finish the round: abort it."""


class OutOfOrder(ProtocolError):
    """A message came twice, too late, or for another round: refuse it."""


class Replayed(OutOfOrder):
    """A round that was begun, or charged, before is asked for again: refuse it, and stop."""

    exit_code = ExitCode.PRIVACY
