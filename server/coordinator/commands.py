"""Commands that set a coordinator up."""

from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from common import processes
from common.cards import CoordinatorCard, key_fingerprint, read_coordinator_card, read_site_card
from common.console import open_console
from common.errors import ExitCode
from server.coordinator.folder import CARD, enrol, init_coordinator, remove, renew
from server.coordinator.nodes import command_line, forget_registrations, register
from server.coordinator.processes import group_of, superexec_command, superlink_command
from server.quorum import WAIT_S

app = typer.Typer(help="Set up and run a coordinator.", no_args_is_help=True)
console = open_console()
FOLLOWED = "server.coordinator.followed"
"""Imported when it is asked for: torch takes longer to import than all else here."""

Folder = Annotated[Path, typer.Argument(help="The coordinator's folder.")]
Metered = Annotated[
    bool, typer.Option("--metrics", help="Write for Prometheus and TensorBoard too.")
]
MetricsPort = Annotated[
    int, typer.Option(help="Answer Prometheus on 127.0.0.1 as well.", min=0, max=65535)
]


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
    new = enrol(folder, cards)
    for card in map(read_site_card, cards):
        said = f"{card.site} must have told you {card.fingerprint}, as its `tacit site init` did."
        console.print(said, highlight=False, soft_wrap=True)
    console.print(_roster(new))
    console.print(f"Send {folder / CARD} to every site; each confirms it with `tacit site trust`.")


@app.command("remove")
def remove_command(folder: Folder, site: str) -> None:
    """Take a site off the roster, and write the new card to send to every site."""
    console.print(_roster(remove(folder, site)))
    console.print(f"Send {folder / CARD} to every site; each confirms it with `tacit site trust`.")


@app.command("renew")
def renew_command(folder: Folder) -> None:
    """Renew the server's certificate by the same authority; sites have nothing to confirm."""
    until = renew(folder, datetime.now(UTC))
    console.print(f"{folder / 'server.crt'} is good until {until:%Y-%m-%d}.", soft_wrap=True)
    console.print("Now have nginx read it (nginx -s reload), and start the SuperLink anew.")


@app.command("start")
def start_command(folder: Folder) -> None:
    """Start SuperLink and executor, watched by a supervisor, on a machine without systemd."""
    processes.start(group_of(folder))
    register(folder, command_line(folder))
    console.print(f"{folder} is running; tacit coordinator status {folder} shows it.")


@app.command("stop")
def stop_command(folder: Folder) -> None:
    """Stop what `tacit coordinator start` started."""
    console.print("Stopped." if processes.stop(folder) else f"{folder} was not running.")


@app.command("status")
def status_command(folder: Folder) -> None:
    """Say whether the coordinator is running and who is enrolled; exit code 1 when it is not."""
    console.print(_roster(read_coordinator_card(folder / CARD)))
    pid = processes.supervisor_pid(folder)
    console.print(f"Running, process {pid}." if pid else "Not running under a supervisor.")
    if not pid:
        raise typer.Exit(ExitCode.FAILED)


@app.command("bundle")
def bundle_command(folder: Folder) -> None:
    """Build the bundle that runs submit, for the sites to approve."""
    made = command_line(folder).build(folder)
    console.print(f"Send {made} to every site; each approves it with `tacit site approve`.")


@app.command("run")
def run_command(
    folder: Folder,
    study: Annotated[str, typer.Argument(help="Name of a study that the sites know.")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="Settings on top of the study: key=value …")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results [FOLDER/runs/…]")] = None,
    wait_s: Annotated[
        float, typer.Option(help="Seconds that too few sites are waited for.", min=1)
    ] = WAIT_S,
    metrics: Metered = False,
    metrics_port: MetricsPort = 0,
) -> None:
    """Run a study over the enrolled sites and follow it; the exit code is the run's own."""
    asked = study, tuple(settings or ()), wait_s
    import_module(FOLLOWED).run(folder, *asked, out, metrics=metrics, port=metrics_port)


@app.command("resume")
def resume_command(
    folder: Folder,
    run: Annotated[Path, typer.Argument(help="Folder of a run that broke off.")],
    metrics: Metered = False,
    metrics_port: MetricsPort = 0,
) -> None:
    """Go on with a run that broke off, from its last checkpoint, and follow it."""
    import_module(FOLLOWED).go_on(folder, run, metrics=metrics, port=metrics_port)


@app.command("superlink", hidden=True)
def superlink_command_(folder: Folder) -> None:
    """Become this coordinator's SuperLink; for systemd and the supervisor."""
    forget_registrations(folder)
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
