"""Whether a site's ledger can be trusted: chain, triggers, schema, and heads that others kept."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from client.budget.places import Place, find_places, look, one_place
from client.budget.signing import check
from client.folder import SiteFolder
from client.heads import kept_notes
from common.errors import LedgerError
from common.heads import KeptHead, SignedHead, check_signatures, read_heads
from common.keys import read_roster
from common.privacy.ledger import Head, LedgerView
from common.witness import head_of

HEADS = "heads.json"


@dataclass(frozen=True)
class Finding:
    """What a verification of one site found.

    Args:
        label: how a table names the site.
        site: its name.
        head: of the ledger; None where the ledger cannot be read to its end.
        heads: how many kept heads it was held to.
        countersigned: the peers whose signature stands on one of these heads.
        problem: what is wrong; empty where nothing is.
        entry: number of the first bad entry, where one can be named.
    """

    label: str
    site: str
    head: Head | None
    heads: int
    countersigned: tuple[str, ...]
    problem: str
    entry: int | None

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem


def verify(place: Place, kept: tuple[KeptHead, ...] | None = None) -> Finding:
    """Check a site's ledger against itself and against the heads that somebody kept.

    Args:
        place: the site.
        kept: heads of any sites, one of this site's among them; those in the site's own folder
            count besides, and the one that it showed its peers last.
    """
    site = place.folder
    try:
        view, mine = look(site), heads_of(site, kept)
        traces = [path.name for path in (site.heads, site.locks, site.audit) if path.exists()]
        if view is None and not mine and not traces:  # it never took part in anything
            return Finding(place.label, site.name, Head(0, ""), 0, (), "", None)
        if view is None:
            said = ", ".join(traces) or "a head that was kept"
            raise LedgerError(
                f"{site.ledger}: the ledger is gone, though {said} tells that this site took part; "
                "restore the newest copy"
            )
        signers = _signers(site, mine)
        for head in mine:
            _hold(view, head)
        hold_to_own_head(site, view)
    except LedgerError as error:
        return Finding(place.label, site.name, None, 0, (), str(error), error.entry)
    return Finding(place.label, site.name, view.head, len(mine), tuple(sorted(signers)), "", None)


def verify_report(place: Place, report: Path) -> Finding:
    """Check a report's signature, and that the ledger still holds what it was written from.

    Args:
        place: the site whose report it is.
        report: the JSON; its signature lies beside it.
    """
    finding = verify(place)
    try:
        head = json.loads(check(place.folder, report))["head"]
        view = look(place.folder)
        if view is not None:
            view.require(Head(int(head["seq"]), str(head["digest"])))
    except LedgerError as error:
        problem, entry = finding.problem or str(error), finding.entry or error.entry
        return replace(finding, problem=problem, entry=entry)
    return finding


def all_verified(path: Path, heads: Path | None, report: Path | None) -> Iterator[Finding]:
    """Verify every site of a path against kept heads, or one site's report.

    Args:
        path: a site's folder, a run's, or one of runs.
        heads: heads that somebody kept; without them, those that a run's coordinator keeps.
        report: a report of the one site.

    Raises:
        ConfigError: the path holds no site, or many where a report is one site's.
        LedgerError: the heads cannot be read.
    """
    if report is not None:
        yield verify_report(one_place(path), report)
        return
    places = find_places(path)
    kept = read_heads(heads) if heads is not None else _kept_by_run(path)
    yield from (verify(place, kept) for place in places)


def _kept_by_run(path: Path) -> tuple[KeptHead, ...] | None:
    is_a_site = (path / "policy.yaml").is_file()
    return None if is_a_site or not (path / HEADS).is_file() else read_heads(path / HEADS)


def _hold(view: LedgerView, head: KeptHead) -> None:
    if isinstance(head, SignedHead) and head.ledger != view.replay.ledger_id:
        raise LedgerError(
            f"{view.path}: this is ledger {view.replay.ledger_id[:8]}…; a kept head of "
            f"{head.site} speaks of ledger {head.ledger[:8]}…: the file was replaced; restore it",
            1,
        )
    view.require(head.head)


def hold_to_own_head(site: SiteFolder, view: LedgerView) -> None:
    """Refuse a ledger that lacks the head that the site itself showed its peers last.

    Raises:
        LedgerError: it does, or the file of heads is damaged.
    """
    own = kept_notes(site.heads).get(site.name)
    if own is not None:
        view.require(head_of(own))


def heads_of(site: SiteFolder, kept: tuple[KeptHead, ...] | None) -> tuple[KeptHead, ...]:
    """Return the heads of a site: among those given, and in its own folder.

    Raises:
        LedgerError: heads were given, and none is the site's.
    """
    given = [head for head in kept or () if head.site == site.name]
    if kept is not None and not given:
        raise LedgerError(f"{site.name}: no head of this site is among those given")
    path = site.root / HEADS
    own = read_heads(path) if path.is_file() else ()
    return (*given, *(head for head in own if head.site == site.name))


def _signers(site: SiteFolder, heads: tuple[KeptHead, ...]) -> set[str]:
    if not heads:
        return set()
    roster = read_roster(site.roster)
    return {peer for head in heads for peer in check_signatures(head, roster)}
