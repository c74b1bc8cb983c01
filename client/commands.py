"""Commands of a site: its data, its budget, and a finished model on its own recordings."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from client.data.importers import PRESETS, import_corpus
from client.predict import PersonRow, by_person, measure, predict, write_probabilities
from common.affect import Estimate, Metrics

app = typer.Typer()
data = typer.Typer(help="Recordings and manifests.", no_args_is_help=True)
app.add_typer(data, name="data")
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
    console.print(_figures(metrics), _confusion(metrics), _persons(by_person(found)), sep="\n")


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
    console.print(import_corpus(preset, source, out, site))


def _figures(metrics: Metrics) -> Table:
    table = Table(title=f"{metrics.clips} clips of {metrics.persons} persons")
    for column in ("", "%", f"{metrics.confidence:.0%} interval by person"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("UAR", *_cells(metrics.uar))
    table.add_row("weighted F1", *_cells(metrics.weighted_f1))
    table.add_row("macro F1", *_cells(metrics.macro_f1))
    table.add_row("accuracy", *_cells(metrics.accuracy))
    table.add_row("chance", f"{100 * metrics.chance:.1f}", "")
    return table


def _cells(estimate: Estimate) -> tuple[str, str]:
    interval = f"{100 * estimate.low:.1f} – {100 * estimate.high:.1f}"
    return f"{100 * estimate.value:.1f}", interval


def _confusion(metrics: Metrics) -> Table:
    table = Table(title="confusion: row is the label, column what the model says")
    for column in ("", *metrics.classes, "recall %"):
        table.add_column(column, justify="left" if not column else "right")
    for name, row in zip(metrics.classes, metrics.confusion_CC, strict=True):
        recall = f"{100 * metrics.recall[name]:.1f}" if name in metrics.recall else "–"
        table.add_row(name, *(str(count) for count in row), recall)
    return table


def _persons(rows: tuple[PersonRow, ...]) -> Table:
    table = Table(title="by person, worst first")
    for column in ("person", "clips", "right", "UAR"):
        table.add_column(column, justify="left" if column == "person" else "right")
    for row in rows:
        table.add_row(row.person_id, str(row.clips), str(row.right), f"{100 * row.uar:.1f}")
    return table
