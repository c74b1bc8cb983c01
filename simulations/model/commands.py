"""Commands that look at a study's model."""

import json
from pathlib import Path
from typing import Annotated

import typer

from common.settings import load_study
from simulations.console import console
from simulations.model.describe import describe
from simulations.model.picture import draw_model
from simulations.model.screen import as_json as description_json
from simulations.model.screen import describe_table

app = typer.Typer(help="What a study's model is.", no_args_is_help=True)


@app.callback()
def _model() -> None:
    """What a study's model is."""


@app.command("describe")
def describe_command(
    study: Annotated[str, typer.Argument(help="Name in conf/studies, or a path to a YAML file.")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="Settings on top of the study: model.hidden=64 …")
    ] = None,
    sites: Annotated[int, typer.Option(help="Sites in the roster.", min=3)] = 5,
    timed: Annotated[bool, typer.Option("--timed", help="Time passes on this machine.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the model: FILE.svg or .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Say what a study's model reads, weighs, sends and costs, branch by branch."""
    found = describe(load_study(study, settings or ()), sites, timed=timed)
    if plot:
        draw_model(found, plot)
    if as_json:
        typer.echo(json.dumps(description_json(found), ensure_ascii=False, indent=2))
    else:
        console.print(describe_table(found))
