"""What the coordinator adds to `tacit budget`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from common.console import open_console
from server.budget import federation_form, federation_table, read_published

budget = typer.Typer()
console = open_console()


@budget.command("federation")
def federation_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="For machines: JSON and nothing else.")
    ] = False,
) -> None:
    """Say what the sites of a run spent, as far as they chose to publish it."""
    found = read_published(run)
    if as_json:
        typer.echo(json.dumps(federation_form(found), indent=1, ensure_ascii=False))
    else:
        console.print(federation_table(found))
