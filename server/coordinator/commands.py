"""Commands that set a coordinator up."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from common.cards import CoordinatorCard, key_fingerprint
from server.coordinator.folder import CARD, enrol, init_coordinator, remove

app = typer.Typer(help="Set up and run a coordinator.", no_args_is_help=True)
console = Console()

Folder = Annotated[Path, typer.Argument(help="The coordinator's folder.")]


@app.command("init")
def init_command(
    folder: Folder,
    name: Annotated[str, typer.Option(prompt="Name of this federation")],
    address: Annotated[str, typer.Option(prompt="HOST:PORT at which sites reach it")],
) -> None:
    """Make a coordinator: its authority, keys, certificates, units and reverse proxy."""
    card = init_coordinator(folder, name, address, datetime.now(UTC))
    console.print(f"{folder} coordinates {card.name} at {card.address}.")
    console.print(f"Next: tacit coordinator enrol {folder} SITE_CARD … for at least three sites.")


@app.command("enrol")
def enrol_command(
    folder: Folder, cards: Annotated[list[Path], typer.Argument(help="Cards of sites.")]
) -> None:
    """Add sites to the roster, and write the new card to send to every site."""
    console.print(_roster(enrol(folder, cards)))
    console.print(f"Send {folder / CARD} to every site; each confirms it with `tacit site trust`.")


@app.command("remove")
def remove_command(folder: Folder, site: str) -> None:
    """Take a site off the roster, and write the new card to send to every site."""
    console.print(_roster(remove(folder, site)))
    console.print(f"Send {folder / CARD} to every site; each confirms it with `tacit site trust`.")


def _roster(card: CoordinatorCard) -> Table:
    table = Table(title=f"{card.name} at {card.address}, card number {card.number}")
    table.add_column("who")
    table.add_column("fingerprint", no_wrap=True)
    table.add_row("coordinator", card.fingerprint)
    for site, key in card.sites.items():
        table.add_row(site, key_fingerprint(site, key))
    table.caption = f"all of this card: {card.roster_fingerprint}"
    return table
