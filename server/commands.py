"""Commands of the coordinator."""

import typer

app = typer.Typer()
