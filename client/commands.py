"""Commands that put a finished model to a site's own recordings."""

import json
from pathlib import Path
from typing import Annotated

import typer

from client import tables
from client.personal_files import finish, place_for
from client.personalise import Wish, personalise
from client.predict import by_person, check_ending, measure, predict, write_probabilities
from common.console import open_console
from common.errors import ExitCode

app = typer.Typer()
console = open_console()

PREDICTIONS = Path("predictions.parquet")
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
    out: Annotated[Path, typer.Option(help="Ends in .parquet or .csv.")] = PREDICTIONS,
    device: Device = "auto",
    encoder: Encoders = None,
) -> None:
    """Write class probabilities for every clip of a manifest, with the model of a finished run."""
    check_ending(out)
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
    console.print(*parts, *tables.may_have_trained(found), sep="\n")


@app.command("personalise")
def personalise_command(
    run: Run,
    folder: Annotated[Path, typer.Argument(help="The site's folder.")],
    epsilon: Annotated[
        float | None, typer.Option(help="What it may cost each person; a private study needs it.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="DP steps [10]; without ε, passes over the clips [5]", min=1)
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="Of the study's optimizer.")] = 0.05,
    only: Annotated[str | None, typer.Option(help="head or all [head with ε, else all]")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder [personal/RUN in FOLDER]")] = None,
    keep_worse: Annotated[bool, typer.Option(help="Write a model that got worse, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Tune a finished run's model on a site's own persons; the tuned model stays at the site."""
    place = place_for(out, folder, run)
    found = personalise(run, folder, Wish(epsilon, learning_rate, steps, only))
    record = finish(found, place, keep_worse)
    typer.echo(json.dumps(record)) if as_json else console.print(*tables.personal(found, record))
    if record["written"] is None:
        raise typer.Exit(ExitCode.FAILED)
