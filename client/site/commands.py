"""Commands that set a site up and run it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from client.site.folder import CARD, Wishes, init_site
from client.site.trust import changes as roster_changes
from client.site.trust import confirm_fingerprint, offered_card, pin
from common.cards import CoordinatorCard

app = typer.Typer(help="Set up and run a site.", no_args_is_help=True)
console = Console()

Folder = Annotated[Path, typer.Argument(help="The site's folder.")]


@app.command("init")
def init_command(
    folder: Folder,
    name: Annotated[str, typer.Option(prompt="Name of this site in the roster")],
    persons: Annotated[
        int,
        typer.Option(prompt="Persons in its recordings, rounded (public)", min=1),
    ],
    manifest: Annotated[str, typer.Option(help="Table of recordings [a stub in FOLDER]")] = "",
    purpose: Annotated[
        list[str] | None, typer.Option(help="A purpose that studies may have; repeat for more.")
    ] = None,
    max_epsilon: Annotated[float, typer.Option(help="Cap on one person's ε, for ever.")] = 8.0,
) -> None:
    """Make a site: its keys, policy, units, and the public card to send to the coordinator."""
    card = init_site(folder, Wishes(name, persons, manifest, tuple(purpose or ()), max_epsilon))
    console.print(f"{folder} is site {card.site}; its keys were made there and stay there.")
    console.print(f"Send {folder / CARD} to the coordinator. Fingerprint, to say over the phone:")
    console.print(card.fingerprint, style="bold", highlight=False)


@app.command("trust")
def trust_command(
    folder: Folder,
    card: Annotated[Path, typer.Argument(help="The coordinator's card.")],
    fingerprint: Annotated[
        str, typer.Option(help="The card's fingerprint, instead of the question.")
    ] = "",
) -> None:
    """Pin a coordinator and the sites of its roster, after you have confirmed them."""
    offered = offered_card(folder, card)
    console.print(_offer(folder, offered))
    if fingerprint:
        confirm_fingerprint(offered, fingerprint)
    else:
        typer.confirm("Have you compared these fingerprints with the people there?", abort=True)
    pin(folder, offered, card)
    console.print(f"Pinned: {offered.name} at {offered.address}, {len(offered.sites)} sites.")


def _offer(folder: Path, card: CoordinatorCard) -> Table:
    table = Table(title=f"{card.name} at {card.address}, card number {card.number}")
    table.add_column("who")
    table.add_column("fingerprint", no_wrap=True)
    table.add_column("against what is pinned")
    table.add_row("coordinator", card.fingerprint, "")
    for change in roster_changes(folder, card):
        style = "" if change.change == "same" else "bold"
        table.add_row(change.site, change.fingerprint, change.change, style=style)
    table.caption = f"all of this card: {card.roster_fingerprint}"
    return table
