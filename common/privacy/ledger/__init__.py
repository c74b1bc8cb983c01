"""A site's append-only account of privacy spent."""

from common.privacy.ledger.account import Ledger
from common.privacy.ledger.chain import Entry, Head
from common.privacy.ledger.report import StudyAccount
from common.privacy.ledger.state import Opening, Reservation
from common.privacy.ledger.view import Change, LedgerView, read_ledger

__all__ = [
    "Change",
    "Entry",
    "Head",
    "Ledger",
    "LedgerView",
    "Opening",
    "Reservation",
    "StudyAccount",
    "read_ledger",
]
