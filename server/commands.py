"""Commands of the coordinator."""

import typer

from server.coordinator.commands import app as coordinator

app = typer.Typer()
app.add_typer(coordinator, name="coordinator")
