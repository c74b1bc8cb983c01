"""The report to a data-protection officer: what was spent, what it means, what it rests on."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from client.budget.accounts import Account, SiteBudget, described
from client.budget.form import document, site_form, text
from client.budget.history import curve
from client.budget.page import render
from client.budget.places import Place, look
from client.budget.signing import sign, signature_path
from common.errors import EnvironmentFault
from common.privacy import plan
from common.privacy.accountant import merge
from common.privacy.events import to_dict
from common.privacy.ledger import LedgerView
from common.privacy.tradeoff import trade_off

ASSUMPTIONS = (
    "Neighbouring data sets differ by one unit, added or removed; the unit stands beside every ε.",
    "Each unit joins a step with the public sampling rate, independently (Poisson sampling), and "
    "its part is clipped to the clipping norm before noise is added.",
    "Noise and sampling are drawn from a cryptographic generator that no seed reaches.",
    "Sampling rate, noise, clipping norm and number of steps were fixed by the study, and not "
    "chosen by looking at who is in the data.",
    "ε composes over everything ever released here: every study, round, statistic and broken-off "
    "attempt. A round that was charged and not finished counts in full.",
    "Where noise is shared between sites, the figure against the coordinator holds as long as no "
    "more sites collude with it than are named, and the secure sum is sound.",
    "All persons of a site share one account: each had the same chance to be sampled.",
)
NOT_COVERED = (
    "A person who is recorded at two sites spends at both; neither site knows of the other.",
    "Facts about a population, which can be learned about somebody who never took part.",
    "The numbers listed as exact: they are not differentially private.",
    "That this site takes part, in which studies and with which modalities.",
    "What is done with the finished model, and what it is right or wrong about.",
    "The recordings inside the site, and whoever can read its machines.",
)
SEEDED = (
    "Private noise at this site comes from a seed (reproducible_seed in its policy): the run can "
    "be repeated, it protects nobody, and every ε here is that of the design alone."
)
DEALT = (
    "Persons were dealt evenly into folds (fold_offset in the site's policy), so one person more "
    "moves others between training and evaluation: every ε here holds for a closed list of persons."
)


@dataclass(frozen=True)
class Written:
    """The files of a report."""

    page: Path
    data: Path
    signature: Path


def write_report(place: Place, out: Path, read_at: str) -> Written:
    """Write a site's report: a page, its data, and the site's signature over the data.

    Raises:
        LedgerError: the ledger is gone, another site's, or cannot be trusted.
        ConfigError: the site's key cannot be read.
        EnvironmentFault: the files cannot be written.
    """
    content = text(report(place, read_at))
    signature = sign(place.folder, content.encode())
    data = out / f"budget-{place.folder.name}.json"
    written = Written(data.with_suffix(".html"), data, signature_path(data))
    try:
        out.mkdir(parents=True, exist_ok=True)
        data.write_text(content, encoding="utf-8")
        written.signature.write_text(json.dumps(signature, indent=1) + "\n", encoding="utf-8")
        written.page.write_text(render(json.loads(content), signature), encoding="utf-8")
    except OSError as error:
        raise EnvironmentFault(f"{out}: the report cannot be written ({error.strerror}).") from None
    return written


def report(place: Place, read_at: str) -> dict[str, Any]:
    """Return a site's report as JSON values.

    Raises:
        LedgerError: the ledger is gone, another site's, or cannot be trusted.
    """
    view = look(place.folder)
    budget, policy = described(place, view, read_at), place.folder.policy
    declared = policy.declared_persons if policy.unit == "person" else policy.declared_records
    body = site_form(budget)
    accounts = (budget.whole, *budget.studies)
    told = [_told(account, view) for account in accounts]
    body["all"] |= told[0]
    body["studies"] = [a | more for a, more in zip(body["studies"], told[1:], strict=True)]
    return document(
        "report",
        **body,
        entries=len(view.digests) if view else 0,
        declared_units=declared,
        delta_advised=1 / (10 * max(1, declared)),
        warnings=list(_warnings(budget, place, declared)),
        assumptions=list(ASSUMPTIONS),
        not_covered=list(NOT_COVERED),
    )


def _told(account: Account, view: LedgerView | None) -> dict[str, Any]:
    """Return what a report says of an account beyond what `show` says."""
    events = view.events(account.name or None) if view else ()
    records = view.replay.records_per_person() if view else None
    cost = merge(events, account.unit, records)
    points = curve(view, account.name or None, account.unit, account.delta) if view else ()
    return {
        "curve": [asdict(point) for point in points],
        "trade_off": [asdict(point) for point in trade_off(cost)],
        "events": [to_dict(event) for event in events],
        "clipping_norms": sorted(_norms(account, view)),
    }


def _norms(account: Account, view: LedgerView | None) -> set[float]:
    reserved = [change.reservation for change in view.changes] if view else []
    mine = [one for one in reserved if account.name in ("", one.study)]
    return {one.max_grad_norm for one in mine if one.max_grad_norm > 0}


def _warnings(budget: SiteBudget, place: Place, declared: int) -> list[str]:
    found = []
    for account in (budget.whole, *budget.studies):
        name = f"study {account.name}" if account.name else "the site's cap"
        if account.delta > 1 / max(1, declared):
            found.append(f"δ of {name} is above 1/{declared}: it protects nobody.")
        elif not plan.check_delta(account.delta, max(1, declared)):
            found.append(
                f"δ of {name} is {account.delta:g}; for {declared} {account.unit}s at most "
                f"{1 / (10 * declared):.2g} is advised."
            )
    if place.folder.policy.reproducible_seed is not None:
        found.append(SEEDED)
    if place.folder.policy.folds and place.folder.policy.fold_offset is not None:
        found.append(DEALT)
    if budget.whole.is_exact:
        found.append("Model updates left without noise: no ε speaks of those studies.")
    return found
