"""Commands of a site: its data, its budget, and a finished model on its own recordings."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from client import tables
from client.audit_commands import app as audit
from client.budget.commands import app as budget
from client.data.check import check_manifest
from client.data.importers import PRESETS, import_corpus
from client.predict import by_person, measure, predict, write_probabilities
from client.site.commands import app as site

app = typer.Typer()
data = typer.Typer(help="Recordings and manifests.", no_args_is_help=True)
app.add_typer(audit, name="audit")
app.add_typer(data, name="data")
app.add_typer(budget, name="budget")
app.add_typer(site, name="site")
console = Console()

Run = Annotated[Path, typer.Argument(help="Folder of a finished run.")]
Manifest = Annotated[Path, typer.Argument(help="A manifest: .csv or .parquet.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda:0 …")]


@app.command("predict")
def predict_command(
    run: Run,
    manifest: Manifest,
    out: Annotated[Path, typer.Option(help="Parquet file to write.")] = Path("predictions.parquet"),
    device: Device = "auto",
) -> None:
    """Write class probabilities for every clip of a manifest, with the model of a finished run."""
    found = predict(run, manifest, labels=False, device=device)
    write_probabilities(found, out)
    console.print(f"{len(found.data)} clips of {len(found.data.person_ids)} persons in {out}.")


@app.command("evaluate")
def evaluate_command(run: Run, manifest: Manifest, device: Device = "auto") -> None:
    """Say how well a finished run's model reads a labelled manifest, and whom it reads badly."""
    found = predict(run, manifest, labels=True, device=device)
    metrics = measure(found)
    people = tables.persons(by_person(found))
    console.print(tables.figures(metrics), tables.confusion(metrics), people, sep="\n")


@data.command("import")
def import_command(
    preset: Annotated[str, typer.Argument(help=f"One of {', '.join(PRESETS)}.")],
    source: Annotated[Path, typer.Argument(help="The corpus as it was downloaded.")],
    out: Annotated[Path, typer.Argument(help="Folder to write: OUT/sites/NAME/manifest.csv.")],
    site: Annotated[
        str | None, typer.Option(help="Put everything at one site of this name.")
    ] = None,
) -> None:
    """Write manifests for a corpus, site by site."""
    console.print(tables.imported(import_corpus(preset, source, out, site)))


@data.command("check")
def check_command(manifest: Manifest, purpose: str = "research") -> None:
    """Check a manifest and every recording in it; say what it holds and what should worry."""
    console.print(tables.checked(check_manifest(manifest, purpose)))
