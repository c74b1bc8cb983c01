"""Commands that set a coordinator up."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from common import processes
from common.cards import CoordinatorCard, key_fingerprint
from server.coordinator.folder import CARD, enrol, init_coordinator, remove
from server.coordinator.processes import group_of, superexec_command, superlink_command

app = typer.Typer(help="Set up and run a coordinator.", no_args_is_help=True)
console = Console()

Folder = Annotated[Path, typer.Argument(help="The coordinator's folder.")]


@app.command("init")
def init_command(
    folder: Folder,
    name: Annotated[str, typer.Option(prompt="Name of this federation")],
    address: Annotated[str, typer.Option(prompt="HOST:PORT at which sites reach it")],
    port: Annotated[
        int, typer.Option(help="Of the SuperLink, on the loopback.", min=1024, max=65535)
    ] = 8000,
) -> None:
    """Make a coordinator: its authority, keys, certificates, units and reverse proxy."""
    card = init_coordinator(folder, name, address, datetime.now(UTC), port)
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


@app.command("start")
def start_command(folder: Folder) -> None:
    """Start SuperLink and executor, watched by a supervisor, on a machine without systemd."""
    processes.start(group_of(folder))
    console.print(f"{folder} is running; tacit coordinator status {folder} shows it.")


@app.command("stop")
def stop_command(folder: Folder) -> None:
    """Stop what `tacit coordinator start` started."""
    console.print("Stopped." if processes.stop(folder) else f"{folder} was not running.")


@app.command("superlink", hidden=True)
def superlink_command_(folder: Folder) -> None:
    """Become this coordinator's SuperLink; for systemd and the supervisor."""
    processes.become(folder, superlink_command(folder.absolute()))


@app.command("superexec", hidden=True)
def superexec_command_(folder: Folder) -> None:
    """Become this coordinator's executor; for systemd and the supervisor."""
    processes.become(folder, superexec_command(folder.absolute()))


@app.command("supervise", hidden=True)
def supervise_command(folder: Folder) -> None:
    """Run SuperLink and executor, and start again what ends; for `tacit coordinator start`."""
    processes.supervise(group_of(folder))


def _roster(card: CoordinatorCard) -> Table:
    table = Table(title=f"{card.name} at {card.address}, card number {card.number}")
    table.add_column("who")
    table.add_column("fingerprint", no_wrap=True)
    table.add_row("coordinator", card.fingerprint)
    for site, key in card.sites.items():
        table.add_row(site, key_fingerprint(site, key))
    table.caption = f"all of this card: {card.roster_fingerprint}"
    return table
