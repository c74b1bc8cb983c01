"""Commands that put a finished model to a site's own recordings."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from client import tables
from client.predict import by_person, measure, predict, write_probabilities

app = typer.Typer()
console = Console()

Run = Annotated[Path, typer.Argument(help="Folder of a finished run.")]
Manifest = Annotated[Path, typer.Argument(help="A manifest: .csv or .parquet.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda:0 …")]
Encoders = Annotated[
    list[str] | None, typer.Option("--encoder", help="NAME=FOLDER of a frozen encoder.")
]


@app.command("predict")
def predict_command(
    run: Run,
    manifest: Manifest,
    out: Annotated[Path, typer.Option(help="Parquet file to write.")] = Path("predictions.parquet"),
    device: Device = "auto",
    encoder: Encoders = None,
) -> None:
    """Write class probabilities for every clip of a manifest, with the model of a finished run."""
    found = predict(run, manifest, labels=False, device=device, encoders=encoder or ())
    write_probabilities(found, out)
    console.print(f"{len(found.data)} clips of {len(found.data.person_ids)} persons in {out}.")


@app.command("evaluate")
def evaluate_command(
    run: Run, manifest: Manifest, device: Device = "auto", encoder: Encoders = None
) -> None:
    """Say how well a finished run's model reads a labelled manifest, and whom it reads badly."""
    found = predict(run, manifest, labels=True, device=device, encoders=encoder or ())
    figures, people = measure(found), tables.persons(by_person(found))
    parts = tables.figures(figures), tables.confusion(figures.classes), people
    console.print(*parts, sep="\n")
