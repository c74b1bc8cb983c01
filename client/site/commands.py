"""Commands that set a site up and run it."""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from client.site.bundles import approve, approved, differences, installed_files, read_bundle
from client.site.folder import CARD, Wishes, init_site
from client.site.processes import group_of, supernode_command
from client.site.trust import changes as roster_changes
from client.site.trust import confirm_fingerprint, offered_card, pin
from common import processes
from common.cards import CoordinatorCard, key_fingerprint
from common.console import open_console
from common.errors import ExitCode

app = typer.Typer(help="Set up and run a site.", no_args_is_help=True)
console = open_console()
APP = Path(__file__).resolve().parents[2]
SCREENS = "client.site.screens"
"""Imported when it is asked for: the accountant takes longer to import than all else here."""

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
    study: Annotated[
        list[str] | None, typer.Option(help="A study that may run; repeat for more.")
    ] = None,
    ethics: Annotated[str, typer.Option(help="Reference of the approval of these data.")] = "",
    ethics_until: Annotated[str, typer.Option(help="Its last day: 2027-12-31.")] = "",
    max_epsilon: Annotated[float, typer.Option(help="Cap on one person's ε, for ever.")] = 8.0,
    first_port: Annotated[
        int, typer.Option(help="First of two ports on the loopback.", min=1024, max=65534)
    ] = 9094,
) -> None:
    """Make a site: its keys, policy, units, and the public card to send to the coordinator."""
    said = (tuple(purpose or ()), max_epsilon, first_port, tuple(study or ()), ethics, ethics_until)
    card = init_site(folder, Wishes(name, persons, manifest, *said))
    console.print(f"{folder} is site {card.site}; its keys were made there and stay there.")
    console.print(f"Send {folder / CARD} to the coordinator, and say over the phone:")
    console.print(
        f"the card's fingerprint  {card.fingerprint}  to the coordinator", highlight=False
    )
    own = key_fingerprint(card.site, card.identity_key)
    console.print(f"your key's fingerprint  {own}  to the other sites", highlight=False)


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


@app.command("approve")
def approve_command(
    folder: Folder,
    bundle: Annotated[Path, typer.Argument(help="The app bundle: NAME.fab, by `flwr build`.")],
    yes: Annotated[bool, typer.Option("--yes", help="Approve without the question.")] = False,
) -> None:
    """Let a coordinator's bundle be used here, after you have seen what changed in it.

    The bundle is compared and never run: this site runs the code that is installed here.
    """
    offered, known = read_bundle(bundle), approved(folder)
    installed = installed_files(APP, offered.files)
    console.print(_differences("against the code installed here", installed, offered.files))
    if known:
        console.print(_differences("against the last approved", known[-1].files, offered.files))
    if not yes:
        typer.confirm(f"Approve {offered.sha256}?", abort=True)
    approve(folder, offered)
    console.print(f"Approved: {offered.sha256}", highlight=False)


@app.command("check")
def check_command(folder: Folder) -> None:
    """Say whether this site can take part, and what to do where it cannot; exit code 1 then."""
    table, is_wrong = import_module(SCREENS).checked(folder)
    console.print(table)
    if is_wrong:
        raise typer.Exit(ExitCode.FAILED)


@app.command("start")
def start_command(folder: Folder) -> None:
    """Start SuperNode and runner, watched by a supervisor, on a machine without systemd."""
    processes.start(group_of(folder))
    console.print(f"{folder} is running; tacit site status {folder} shows it.")


@app.command("stop")
def stop_command(folder: Folder) -> None:
    """Stop what `tacit site start` started."""
    console.print("Stopped." if processes.stop(folder) else f"{folder} was not running.")


@app.command("status")
def status_command(folder: Folder) -> None:
    """Show what the site is doing and what is left of its budget; exit code 1 without a runner."""
    table = import_module(SCREENS).status(folder)
    console.print(table or f"The runner of {folder} does not answer: tacit site start {folder}.")
    if table is None:
        raise typer.Exit(ExitCode.FAILED)


@app.command("supernode", hidden=True)
def supernode_command_(folder: Folder) -> None:
    """Become this site's SuperNode; for systemd and the supervisor."""
    processes.become(folder, supernode_command(folder.absolute()))


@app.command("runner", hidden=True)
def runner_command(folder: Folder) -> None:
    """Run this site's runner; for systemd and the supervisor."""
    import_module("client.site.running").run_runner(folder)


@app.command("supervise", hidden=True)
def supervise_command(folder: Folder) -> None:
    """Run SuperNode and runner, and start again what ends; for `tacit site start`."""
    processes.supervise(group_of(folder))


def _differences(title: str, old: dict[str, str], new: dict[str, str]) -> Table | str:
    found = differences(old, new)
    if not found:
        return f"{title}: no difference in {len(new)} files"
    table = Table("file", "change", title=f"{title}: {len(found)} of {len(new)} files differ")
    for one in found:
        table.add_row(one.path, one.change)
    return table


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
