"""What the budget commands print, as tables."""

import math
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from client.budget.accounts import Account, SiteBudget
from client.budget.asking import Setting
from client.budget.measured import Measured
from client.budget.planning import Planned, warnings
from client.budget.verifying import Finding

NOT_PRIVATE = "not differentially private"
_PLAN_NOTE = (
    "spent: ε against the coordinator and its helpers. rounds: what ε allows with that σ. of 100: "
    "guesses that can be right. noise: its length over the most that the signal can have, over the "
    "run. kept: share of the gain over chance, at the measured studies with the next less and the "
    "next more noise. Other data, other models: neighbours, no promise."
)
_NARROW: Any = {"box": box.SIMPLE, "padding": (0, 1, 0, 0), "pad_edge": False}


def show(budgets: tuple[SiteBudget, ...]) -> RenderableType:
    """Every study at every site; then who sees how much; then what left without noise."""
    parts: list[RenderableType] = [_spent(budgets)]
    if any(budget.founded for budget in budgets):
        parts.append(_onlookers(budgets))
    if any(budget.exact for budget in budgets):
        parts.append(_exact(budgets))
    return Group(*parts)


def _spent(budgets: tuple[SiteBudget, ...]) -> Table:
    deltas = {account.delta for budget in budgets for account in _accounts(budget)}
    told = f" at δ = {deltas.pop():g}" if len(deltas) == 1 else ""
    alone = budgets[0].label if len(budgets) == 1 else ""
    whose = f"by the ledger of {alone}" if alone else "by each site's own ledger"
    table = Table(title=f"ε spent{told}, {whose}", **_NARROW)
    table.caption, table.caption_justify = _caption(budgets), "left"
    for column in ("study", "unit") if alone else ("site", "study", "unit"):
        table.add_column(column, overflow="fold")
    heads = ("spent", "cap", "left", "rounds", "more")
    for column in heads if told else ("δ", *heads):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("last charge", no_wrap=True)
    for budget in budgets:
        for account in _accounts(budget):
            site = () if alone else (budget.label,)
            delta = () if told else (f"{account.delta:g}",)
            name = account.name or "all"
            table.add_row(*site, name, account.unit, *delta, *_cells(account))
    return table


def _accounts(budget: SiteBudget) -> tuple[Account, ...]:
    """A line for each study, and one for all together where that says more."""
    return budget.studies if len(budget.studies) == 1 else (*budget.studies, budget.whole)


def _cells(account: Account) -> tuple[str, ...]:
    is_open = bool(account.name) and account.is_exact and not account.spent
    return (
        _noised(account, account.spent),
        "–" if is_open else epsilon(account.cap, otherwise="none"),
        "–" if is_open else epsilon(account.left, otherwise="–"),
        str(account.rounds),
        "–" if account.more_rounds is None else str(account.more_rounds),
        account.last_charge[:10] or "never",
    )


def _noised(account: Account, spent: float) -> str:
    """Write an ε; where model updates left without noise, it speaks of the rest alone."""
    if not account.is_exact:
        return epsilon(spent)
    return f"{epsilon(spent)} + exact" if spent else "exact"


def _caption(budgets: tuple[SiteBudget, ...]) -> Text:
    lines = ["more: training rounds like the last one that every cap still allows."]
    idle = [budget.label for budget in budgets if not budget.founded]
    if idle:
        lines.append(f"{listed(idle)}: nothing spent; the ledger is founded in the first round.")
    broken_off = sum(budget.whole.unfinished for budget in budgets)
    if broken_off:
        lines.append(f"Rounds that were charged and not finished, counted in full: {broken_off}.")
    if any(budget.whole.is_exact for budget in budgets):
        lines.append("exact: model updates left without noise; no ε speaks of them.")
    lines += _odds(budgets)
    return Text("\n".join(lines))


def _odds(budgets: tuple[SiteBudget, ...]) -> list[str]:
    most = max(budget.whole.right_of_hundred for budget in budgets)
    unit = budgets[0].whole.unit
    whom = "a given person took part" if unit == "person" else "a given recording was used"
    where = "" if len(budgets) == 1 else ", at the site that spent most,"
    if any(budget.whole.is_exact for budget in budgets):
        return [f"So nothing bounds how surely somebody can tell whether {whom}."]
    of = " from what left with noise" if any(budget.exact for budget in budgets) else ""
    return [f"Of 100 guesses{of} whether {whom}{where} at most {most} can be right (50: a coin)."]


def _onlookers(budgets: tuple[SiteBudget, ...]) -> Table:
    table = Table(title="The same, by who looks: ε of all studies together", **_NARROW)
    table.add_column("site", overflow="fold")
    for column in ("outside world", "coordinator with colluding sites", "were masks broken"):
        table.add_column(column, justify="right")
    for budget in budgets:
        by, whole = budget.whole.by, budget.whole
        many = "" if by.colluding_sites is None else f" (with {by.colluding_sites})"
        coordinator = _noised(whole, by.coordinator) + many
        outside, broken = _noised(whole, by.outside), _noised(whole, by.broken)
        table.add_row(budget.label, outside, coordinator, broken)
    return table


def _exact(budgets: tuple[SiteBudget, ...]) -> Table:
    table = Table(title=f"Exact: {NOT_PRIVATE}", **_NARROW)
    for column in ("site", "study", "what"):
        table.add_column(column, overflow="fold")
    for column in ("sums", "persons, at least"):
        table.add_column(column, justify="right")
    table.caption = "persons, at least: what the site's policy asks of each sum, not a count."
    table.caption_justify = "left"
    for budget in budgets:
        for one in budget.exact:
            cells = (one.study, one.what, str(one.times), str(one.min_persons))
            table.add_row(budget.label, *cells)
    return table


def plan(setting: Setting, rows: tuple[Planned, ...]) -> RenderableType:
    """What each ε would cost and give."""
    privacy, training = setting.study.privacy, setting.study.training
    told = f"{setting.sites} sites, {training.num_server_rounds} rounds, "
    told += f"q = {privacy.sampling_rate:g}, δ = {privacy.target_delta:g}, {privacy.mode} noise"
    table = Table(title=f"ε per {privacy.unit}: {told}", **_NARROW)
    shared = privacy.mode == "distributed"
    who = ("outside", "broken") if shared else ()
    for column in ("ε", "σ", "spent", *who, "rounds", "of 100", "noise"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("kept nearby", no_wrap=True)
    for row in rows:
        by = (epsilon(row.by.outside), epsilon(row.by.broken)) if shared else ()
        table.add_row(*_plan_cells(row, by), _kept(row))
    notes = Text("\n".join((_PLAN_NOTE, *_cares(setting))))
    near = {one for row in rows for one in (row.less_noise, row.more_noise) if one}
    return Group(table, _near(near), notes) if near else Group(table, notes)


def _plan_cells(row: Planned, by: tuple[str, ...]) -> tuple[str, ...]:
    ratio = "–" if row.noise_to_signal is None else f"{row.noise_to_signal:.2g}"
    start = (f"{row.target:g}", f"{row.noise_multiplier:.4g}", epsilon(row.spent))
    return (*start, *by, str(row.rounds), str(row.right_of_hundred), ratio)


def _kept(row: Planned) -> str:
    """Write what measured studies with the next less and the next more noise kept."""
    less, more = row.less_noise, row.more_noise
    if less and more:
        low, high = sorted((less.kept, more.kept))
        return f"{low:.0%} to {high:.0%}"
    if more:
        return f"{more.kept:.0%} or more"
    return f"{less.kept:.0%} or less" if less else "–"


def _near(near: set[Measured]) -> Table:
    """The measured studies that a plan's rows stand between."""
    table = Table(title="Measured elsewhere, by person at ε = 8", **_NARROW)
    table.add_column("study")
    for column in ("noise", "UAR", "without", "chance", "kept"):
        table.add_column(column, justify="right")
    for one in sorted(near, key=lambda one: one.noise_to_signal):
        shares = (one.uar, one.uar_without, one.chance)
        cells = [f"{100 * share:.1f}" for share in shares]
        table.add_row(one.study, f"{one.noise_to_signal:.2g}", *cells, f"{one.kept:.0%}")
    return table


def _cares(setting: Setting) -> tuple[str, ...]:
    return tuple(f"Take care: {warning}" for warning in warnings(setting))


def verified(findings: tuple[Finding, ...]) -> Table:
    """What a verification found."""
    table = Table(title="Ledgers", **_NARROW)
    for column in ("site", "", "entries", "heads held to", "what is wrong"):
        table.add_column(column, overflow="fold")
    for one in findings:
        heads = str(one.heads) if one.heads else "none given"
        if one.countersigned:
            heads += f", countersigned by {', '.join(one.countersigned)}"
        state = "[green]sound[/]" if one.is_sound else "[bold red]not sound[/]"
        entries = str(one.head.seq) if one.head else "–"
        first = f"first bad entry: {one.entry}. " if one.entry else ""
        table.add_row(one.label, state, entries, heads, Text(first + one.problem))
    return table


def epsilon(value: float | None, otherwise: str = "no bound") -> str:
    """Write an ε; what is not finite in words."""
    if value is None or not math.isfinite(value):
        return otherwise
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def listed(names: list[str], most: int = 3) -> str:
    """Write some names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
