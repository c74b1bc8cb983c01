"""The JSON of every answer: one format and version each, held to a schema in docs/schemas.

JSON has no infinity: an ε without bound and a cap that is not set are null.
"""

import json
import math
from dataclasses import asdict
from typing import Any

from client.budget.accounts import Account, SiteBudget
from client.budget.verifying import Finding

VERSION = 1


def document(kind: str, **content: Any) -> dict[str, Any]:
    """Return an answer of one kind: "show", "report", "plan", "verify", "export", "federation"."""
    return {"format": f"tacit budget {kind}", "version": VERSION, **finite(content)}


def finite(value: Any) -> Any:
    """Return a value in which null stands for what is not finite."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def text(content: dict[str, Any]) -> str:
    """Return the one text of an answer: what is signed is what is written."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n"


def shown(budgets: tuple[SiteBudget, ...]) -> dict[str, Any]:
    """Return what `tacit budget show --json` prints."""
    return document("show", sites=[site_form(budget) for budget in budgets])


def site_form(budget: SiteBudget) -> dict[str, Any]:
    """Return a site's budget as JSON values."""
    return {
        "site": budget.site,
        "label": budget.label,
        "founded": budget.founded,
        "ledger": budget.ledger,
        "head": asdict(budget.head),
        "read_at": budget.read_at,
        "all": account_form(budget.whole),
        "studies": [account_form(study) for study in budget.studies],
        "exact": [
            {**asdict(one), "guarantee": "not differentially private"} for one in budget.exact
        ],
    }


def account_form(account: Account) -> dict[str, Any]:
    """Return one account as JSON values."""
    by = account.by
    return {
        "study": account.name or None,
        "unit": account.unit,
        "delta": account.delta,
        "epsilon_spent": account.spent,
        "epsilon_cap": account.cap,
        "epsilon_left": account.left,
        "rounds": account.rounds,
        "rounds_affordable": account.more_rounds,
        "rounds_unfinished": account.unfinished,
        "last_charge": account.last_charge or None,
        "model_updates_exact": account.is_exact,
        "right_of_100_guesses": account.right_of_hundred,
        "epsilon_by_onlooker": {
            "outside_world": by.outside,
            "coordinator_with_colluding_sites": by.coordinator,
            "colluding_sites": by.colluding_sites,
            "secure_aggregation_broken": by.broken,
        },
    }


def verified(findings: tuple[Finding, ...]) -> dict[str, Any]:
    """Return what `tacit budget verify --json` prints."""
    return document(
        "verify",
        sound=all(one.is_sound for one in findings),
        sites=[
            {
                "site": one.site,
                "label": one.label,
                "sound": one.is_sound,
                "head": asdict(one.head) if one.head else None,
                "heads_held_to": one.heads,
                "countersigned_by": list(one.countersigned),
                "first_bad_entry": one.entry,
                "problem": one.problem or None,
            }
            for one in findings
        ],
    )
