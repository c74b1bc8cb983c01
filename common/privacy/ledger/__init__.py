"""A site's append-only account of privacy spent."""

from common.privacy.ledger.account import Ledger
from common.privacy.ledger.chain import Entry, Head
from common.privacy.ledger.report import StudyAccount
from common.privacy.ledger.state import Opening, Reservation

__all__ = ["Entry", "Head", "Ledger", "Opening", "Reservation", "StudyAccount"]
