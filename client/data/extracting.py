"""Commands for features: ahead of time, and what an encoder's folder holds."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from client import tables
from client.data.ahead import Watch, extract_ahead, place_for
from client.data.encoders.folder import look_through
from client.data.encoders.frozen import record_of
from client.train import device_of
from common.console import open_console
from common.settings import load_study

console = open_console()

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and no more.")]


def features_command(
    manifest: Annotated[Path, typer.Argument(help="A manifest: .csv or .parquet.")],
    study: Annotated[str, typer.Option(help="Name in conf/studies, or a path to a YAML file.")],
    site: Annotated[
        Path | None, typer.Option(help="A site's folder: its policy names encoders and cache.")
    ] = None,
    encoder: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER of a frozen encoder; may be repeated.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of features [the site's, or .features]")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:0 …")] = "auto",
    as_json: Json = False,
) -> None:
    """Extract a study's features ahead of time; what is known already is not redone."""
    chosen = load_study(study, own=site and site / "studies")
    place = place_for(chosen, manifest, site, cache, encoder or ())
    with _reading() as watch:
        found = extract_ahead(chosen, manifest, place, device_of(device), watch)
    if as_json:
        typer.echo(json.dumps(found.form(), ensure_ascii=False, indent=2))
    else:
        console.print(tables.extracted(found))
    found.refuse()


def encoder_command(
    folder: Annotated[Path, typer.Argument(help="Holds config.json and *.safetensors.")],
    as_json: Json = False,
) -> None:
    """Look through an encoder's folder: its hash for studies and policies, files, licence."""
    record = record_of(folder.resolve().name, look_through(folder))
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False, indent=2))
    else:
        console.print(tables.encoder(record))
        typer.echo(f"sha256 of all, for studies and policies: {record['sha256']}")


@contextmanager
def _reading() -> Iterator[Watch]:
    """Show a bar for each modality, on the error stream; yields what takes each step."""
    columns = (TextColumn("reading {task.description}"), BarColumn(bar_width=20))
    beside = (MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, *beside, console=open_console(stderr=True), transient=True) as bar:
        tasks = {}

        def watch(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], completed=done, total=total)

        yield watch
