"""What `tacit site check` and `tacit site status` show."""

import math
import time
from pathlib import Path

from rich.table import Table

from client.budget.accounts import Account, SiteBudget, budget_of, now
from client.budget.places import one_place
from client.folder import stamp
from client.site.doctor import examine
from client.site.health import ask_status
from client.site.processes import ports_of
from client.site.status import Status


def checked(folder: Path) -> tuple[Table, bool]:
    """Whether a site can take part, and what to do where it cannot; whether anything is wrong.

    Raises:
        ConfigError: the folder is not a site's.
    """
    stamp(folder)
    table, findings = Table("what", "", "found", title=str(folder)), list(examine(folder))
    for one in findings:
        table.add_row(one.what, one.state, one.said, style="" if one.state == "fine" else "bold")
    return table, any(one.state == "wrong" for one in findings)


def status(folder: Path) -> Table | None:
    """What a site is doing and what is left of its budget; None where its runner does not answer.

    Raises:
        ConfigError: the folder is not a site's.
    """
    found = ask_status(ports_of(folder).health)
    return _status(found, budget_of(one_place(folder), now())) if found else None


def _status(found: Status, budget: SiteBudget) -> Table:
    table = Table(title=f"{found.site}: {found.doing}", show_header=False)
    table.add_row("last contact", _ago(found.last_contact))
    table.add_row("last stage", found.stage or "none yet")
    table.add_row("study, round", f"{found.study or 'none yet'}, {found.round or 'none yet'}")
    for account in (budget.whole, *budget.studies):
        table.add_row(f"budget left, {account.name or 'all studies'}", _left(account))
    table.add_row("answered, refused", f"{found.answered}, {found.refused}")
    table.add_row("running since", _ago(found.started))
    return table


def _left(account: Account) -> str:
    return f"ε {account.left:.2f} of {account.cap:.2f}" if account.cap < math.inf else "no cap"


def _ago(moment: float) -> str:
    return f"{time.time() - moment:.0f} s ago" if moment else "never"
