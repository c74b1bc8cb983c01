"""Commands for recordings and manifests."""

import json
from pathlib import Path
from typing import Annotated

import typer

from client import tables
from client.data.check import survey_for
from client.data.check_page import write_page
from client.data.extracting import encoder_command, features_command
from client.data.feasible import EPSILONS, SITES
from client.data.importers import PRESETS, import_corpus, options_from
from common.console import open_console

app = typer.Typer(help="Recordings and manifests.", no_args_is_help=True)
console = open_console()

Manifest = Annotated[Path, typer.Argument(help="A manifest: .csv or .parquet.")]


@app.command("import")
def import_command(
    preset: Annotated[str, typer.Argument(help=f"One of {', '.join(PRESETS)}.")],
    source: Annotated[Path, typer.Argument(help="The corpus as it was downloaded.")],
    out: Annotated[Path, typer.Argument(help="Folder to write: OUT/sites/NAME/manifest.csv.")],
    site: Annotated[
        str | None, typer.Option(help="Put everything at one site of this name.")
    ] = None,
    sites: Annotated[
        int, typer.Option(help="Deal persons to so many sites, for a simulation.", min=0)
    ] = 0,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="KEY=VALUE of the preset; for csv, KEY=COLUMN."),
    ] = None,
) -> None:
    """Write manifests for a corpus, site by site."""
    given = options_from(option or [])
    console.print(tables.imported(import_corpus(preset, source, out, site, given, sites)))


@app.command("check")
def check_command(
    manifest: Manifest,
    study: Annotated[
        str | None, typer.Option(help="Hold labels and consent against a study, by name or path.")
    ] = None,
    purpose: Annotated[
        str | None, typer.Option(help="What the recordings are for; else the study's, or research.")
    ] = None,
    epsilon: Annotated[
        list[float] | None, typer.Option(help="ε per person to plan for; may be repeated.")
    ] = None,
    sites: Annotated[int, typer.Option(help="Sites as large as this one.")] = SITES,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check a manifest and every recording in it; say what it holds and what should worry."""
    report = survey_for(manifest, study, purpose, epsilon or EPSILONS, sites)
    if html:
        write_page(report, manifest, sites, html)
    if as_json:
        typer.echo(json.dumps(report.form(), ensure_ascii=False, indent=2))
    report.refuse()
    if not as_json:
        console.print(tables.checked(report))


app.command("features")(features_command)
app.command("encoder")(encoder_command)
