"""Commands that measure what privacy costs, beside a baseline in the same process."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from common.console import open_console
from simulations.bench import dp_outcome, features_outcome
from simulations.bench import rounds as rounds_bench
from simulations.bench.figures import Outcome
from simulations.bench.plot import checked, write_growth
from simulations.bench.progress import measuring
from simulations.bench.secagg_outcome import plan, run, steps
from simulations.bench.table import document, screen

bench = typer.Typer(
    help="What privacy costs, beside a baseline in the same process.", no_args_is_help=True
)
console = open_console()

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, and nothing else.")]
Quick = Annotated[bool, typer.Option("--quick", help="Small sizes: seconds; proves no figure.")]


@bench.command("secagg")
def secagg_command(
    sites: Annotated[
        list[int] | None, typer.Option(help="A cohort; may be given again. [10, 50]", min=4)
    ] = None,
    parameters: Annotated[int, typer.Option(help="Of the update. [1000000]", min=0)] = 0,
    repetitions: Annotated[int, typer.Option(help="Of each side, in turn. [2]", min=0)] = 0,
    large: Annotated[
        bool, typer.Option("--large", help="Also 50 sites with 10 million: minutes, gigabytes.")
    ] = False,
    quick: Quick = False,
    plot: Annotated[
        Path | None, typer.Option(help=".png, .svg or .pdf [runs/bench-secagg-TIME.png]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the secure sum beside Flower's SecAgg+ and CKKS."""
    chosen = plan(tuple(sites or ()), parameters, repetitions, large=large, quick=quick)
    path = checked(plot or Path("runs") / f"bench-secagg-{time.strftime('%Y%m%d-%H%M%S')}.png")
    with measuring("secagg", steps(chosen)) as watch:
        outcome = run(chosen, watch)
    show(outcome, as_json=as_json, plot=write_growth(outcome, path))


@bench.command("dp")
def dp_command(
    batch: Annotated[
        list[int] | None, typer.Option(help="Clips a step; may be given again. [64, 256]", min=1)
    ] = None,
    quick: Quick = False,
    as_json: Json = False,
) -> None:
    """Measure private training beside plain training and Opacus."""
    chosen = dp_outcome.plan(tuple(batch or ()), quick=quick)
    with measuring("dp", dp_outcome.steps(chosen)) as watch:
        outcome = dp_outcome.run(chosen, watch)
    show(outcome, as_json=as_json)


@bench.command("round")
def round_command(
    sites: Annotated[int, typer.Option(help="SuperNodes on this machine.", min=3)] = 3,
    rounds: Annotated[int, typer.Option(help="Of a run.", min=3)] = 6,
    as_json: Json = False,
) -> None:
    """Measure a round with the site runner beside Flower's process for every message."""
    with measuring("round", 3) as watch:
        outcome = rounds_bench.run(rounds_bench.Plan(sites, rounds), watch)
    show(outcome, as_json=as_json)


@bench.command("features")
def features_command(quick: Quick = False, as_json: Json = False) -> None:
    """Measure frozen encoders beside a plain DataLoader loop, and memory over long recordings."""
    chosen = features_outcome.plan(quick=quick)
    with measuring("features", features_outcome.steps(chosen)) as watch:
        outcome = features_outcome.run(chosen, watch)
    show(outcome, as_json=as_json)


def show(outcome: Outcome, *, as_json: bool, plot: Path | None = None) -> None:
    """Print a benchmark's outcome: a document for machines, or a table and where the plot is."""
    if as_json:
        typer.echo(json.dumps(document(outcome), indent=2, ensure_ascii=False, allow_nan=False))
        return
    console.print(screen(outcome))
    if plot is not None:
        console.print(f"plot: {plot}", soft_wrap=True)
