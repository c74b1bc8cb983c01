"""Commands for recordings and manifests."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from client import tables
from client.data.check import check_manifest
from client.data.importers import PRESETS, import_corpus, options_from

app = typer.Typer(help="Recordings and manifests.", no_args_is_help=True)
console = Console()

Manifest = Annotated[Path, typer.Argument(help="A manifest: .csv or .parquet.")]


@app.command("import")
def import_command(
    preset: Annotated[str, typer.Argument(help=f"One of {', '.join(PRESETS)}.")],
    source: Annotated[Path, typer.Argument(help="The corpus as it was downloaded.")],
    out: Annotated[Path, typer.Argument(help="Folder to write: OUT/sites/NAME/manifest.csv.")],
    site: Annotated[
        str | None, typer.Option(help="Put everything at one site of this name.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="KEY=VALUE of the preset; for csv, KEY=COLUMN."),
    ] = None,
) -> None:
    """Write manifests for a corpus, site by site."""
    given = options_from(option or [])
    console.print(tables.imported(import_corpus(preset, source, out, site, given)))


@app.command("check")
def check_command(manifest: Manifest, purpose: str = "research") -> None:
    """Check a manifest and every recording in it; say what it holds and what should worry."""
    console.print(tables.checked(check_manifest(manifest, purpose)))
