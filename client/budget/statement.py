"""What a site publishes of its budget: what its policy chose, and by default nothing."""

from client.budget.accounts import Account, SiteBudget, budget_of
from client.budget.form import finite
from client.budget.places import Place
from common.errors import PolicyRefused
from common.keys import read_identity
from common.statements import Statement, StudyFigures, sign_statement


def published(place: Place, study: str | None, at: str) -> Statement:
    """Return a site's signed statement.

    Args:
        place: the site.
        study: the study in hand; None asks for everything that the policy publishes.
        at: now, UTC.

    Raises:
        PolicyRefused: the site publishes nothing, or only the study in hand and none is named.
        LedgerError: the ledger cannot be trusted.
    """
    choice, site = place.folder.policy.publish_budget, place.folder
    if choice == "nothing" or (choice == "study" and study is None):
        asked = "nothing" if choice == "nothing" else "the study in hand alone; name it"
        raise PolicyRefused(
            f"{site.name} publishes {asked} (publish_budget in its policy: nothing, study, all)."
        )
    budget = budget_of(place, at)
    told = [one for one in budget.studies if study in (None, one.name)]
    figures = tuple(_figures(one, budget, choice == "all") for one in told)
    identity = read_identity(site.identity, site.name)
    return sign_statement(identity, Statement(site.name, at, figures))


def _figures(account: Account, budget: SiteBudget, with_site: bool) -> StudyFigures:
    """What is told of one study; the rounds left would tell of the site's other studies too."""
    exact = sorted({one.what for one in budget.exact if one.study == account.name})
    return StudyFigures(
        study=account.name,
        unit=account.unit,
        delta=account.delta,
        epsilon_spent=finite(account.spent),
        epsilon_cap=finite(account.cap),
        rounds=account.rounds,
        rounds_affordable=account.more_rounds if with_site else None,
        last_charge=account.last_charge or None,
        exact=tuple(exact),
    )
