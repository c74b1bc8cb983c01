"""Why a site refuses, in one word: all that leaves it of any reason outside the protocol.

The reason itself stays in the site's own log. This is the one table of the words: which error
a word stands for at the site, and what the coordinator makes of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from common.errors import (
    BudgetSpent,
    ConfigError,
    DataError,
    ExitCode,
    LedgerError,
    OutOfOrder,
    PolicyRefused,
    PrivacyError,
    ProtocolError,
    QuietHours,
    Replayed,
    TacitError,
)


@dataclass(frozen=True)
class Refused:
    """What a word stands for.

    Args:
        error: raised at the site, and by the coordinator in turn; its exit code is the run's.
        ends: whether one such refusal ends the run at once; otherwise the site is a drop-out.
        says: what the coordinator says of it: the sites' names and the kind, nothing else.
    """

    error: type[TacitError]
    ends: bool
    says: str


REFUSALS: Mapping[str, Refused] = {
    "quiet": Refused(
        QuietHours, False, "{sites} refused: nothing is begun there at this hour; resume later."
    ),
    "policy": Refused(
        PolicyRefused, True, "{sites} refused: the site's policy does not allow this."
    ),
    "budget": Refused(
        BudgetSpent, True, "The privacy cap of {sites} is met: refused before any data was read."
    ),
    "ledger": Refused(
        LedgerError, True, "{sites} refused: the site's privacy ledger cannot be used."
    ),
    "replay": Refused(Replayed, True, "{sites} refused: this round was begun there before."),
    "privacy": Refused(
        PrivacyError, False, "{sites} refused: going on would break a privacy guarantee there."
    ),
    "order": Refused(OutOfOrder, False, "{sites} refused: the message was out of order there."),
    "protocol": Refused(ProtocolError, False, "{sites} refused: the message was wrong."),
    "data": Refused(
        DataError, True, "{sites} refused: recordings cannot be used; the site's own log says why."
    ),
    "config": Refused(
        ConfigError,
        True,
        "{sites} refused: the study or the site's set-up does not fit; its own log says why.",
    ),
    "fault": Refused(TacitError, False, "{sites} failed: the site's own log says why."),
}
"""In the order in which an error is looked up: a type stands before those that it is one of."""


def word_of(error: Exception) -> str:
    """The word for what a site raised."""
    fits = (word for word, row in REFUSALS.items() if isinstance(error, row.error))
    return next(fits, "fault")


def ends_the_run(word: str) -> bool:
    """Whether one refusal of this kind ends a run at once."""
    return REFUSALS[word].ends


def error_of(refused: Mapping[str, str]) -> TacitError | None:
    """The error that some refusals amount to; None where a run may fail for other reasons.

    Args:
        refused: site -> word.

    Returns:
        an error of the first kind in the table that has an exit code of its own, which names
        every site that refused for such a reason.
    """
    kinds = [w for w, row in REFUSALS.items() if row.error.exit_code != ExitCode.FAILED]
    said = {word: sorted(s for s, w in refused.items() if w == word) for word in kinds}
    lines = [REFUSALS[w].says.format(sites=", ".join(s)) for w, s in said.items() if s]
    first = next((word for word in kinds if said[word]), None)
    return None if first is None else REFUSALS[first].error(" ".join(lines))
