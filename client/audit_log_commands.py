"""Commands that read a site's audit log."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from client.folder import open_site
from client.site.audit_log import AuditHead, check, read
from client.site.folder import CARD
from common.cards import read_site_card
from common.console import open_console
from common.errors import ConfigError
from common.keys import read_roster

app = typer.Typer()
log = typer.Typer(help="What this site answered and refused.", no_args_is_help=True)
app.add_typer(log, name="log")
console = open_console()
FORMAT = 1

SiteDir = Annotated[Path, typer.Argument(help="The site's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@log.command("verify")
def verify_command(
    folder: SiteDir,
    head: Annotated[str, typer.Option(help="A head that was kept, as NUMBER:HASH.")] = "",
    as_json: AsJson = False,
) -> None:
    """Check every line: any edit, deletion, reorder, or truncation below a kept head is named."""
    found = verified(folder, head)
    if as_json:
        typer.echo(json.dumps({"format": FORMAT, "lines": found.number, "head": _text(found)}))
        return
    console.print(f"{found.number} lines, chain and signatures whole.", highlight=False)
    console.print(f"Keep this head elsewhere: {_text(found)}", highlight=False, soft_wrap=True)


@log.command("show")
def show_command(
    folder: SiteDir,
    last: Annotated[int, typer.Option(help="How many lines, from the end; 0: all.", min=0)] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the newest lines. It does not check them: `verify` does."""
    lines = read(open_site(folder).audit)[-last:]
    typer.echo(json.dumps(lines, ensure_ascii=False)) if as_json else console.print(_table(lines))


def verified(folder: Path, head: str = "") -> AuditHead:
    """Check a site's audit log against the site's public key and a head that was kept.

    Args:
        folder: the site's.
        head: NUMBER:HASH, or empty.

    Raises:
        LedgerError: a line was edited, taken out, moved or cut off; names the first.
        ConfigError: the log or the site's public key cannot be read, or `head` is no head.
    """
    return check(open_site(folder).audit, _public_key(folder), _kept(head) if head else None)


def _kept(head: str) -> AuditHead:
    match = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", head)
    if match is None:
        raise ConfigError(f"{head!r} is no head; expected NUMBER:HASH, as `verify` prints it.")
    return AuditHead(int(match[1]), match[2])


def _public_key(folder: Path) -> bytes:
    """The site's key as everybody pinned it; before that, as its own card says it."""
    site = open_site(folder)
    if not site.roster.is_file():
        return read_site_card(folder / CARD).identity_key
    roster = read_roster(site.roster)
    if site.name not in roster:
        raise ConfigError(f"{site.roster} has no key of {site.name}.")
    return roster[site.name]


def _text(head: AuditHead) -> str:
    return f"{head.number}:{head.digest}"


def _table(lines: list[dict[str, Any]]) -> Table:
    table, names = Table("line", "at", "event", "details"), ("number", "at", "event")
    frame = {"number", "at", "event", "previous", "digest", "signature"}
    for line in lines:
        details = ", ".join(f"{k} {_short(v)}" for k, v in line.items() if k not in frame)
        table.add_row(*(escape(str(line.get(k, ""))) for k in names), escape(details))
    return table


def _short(value: object) -> str:
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", str(value))
