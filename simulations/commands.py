"""Commands for everything that needs no hospital."""

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from client.draft import UNDER_PRIVACY, draft_study
from common.chosen import check_heeded
from common.config import Study
from common.errors import ConfigError
from common.settings import differences_yaml, load_study, study_names
from common.targets import asked_for
from simulations.console import aside, console, following
from simulations.corpus import write_corpus
from simulations.crossval import check_folds, repeat_study, spread_table, variants
from simulations.curves import (
    curves_json,
    plan_curves,
    read_curves,
    run_spots,
    spots_of,
    write_curves,
)
from simulations.demo import demonstrate
from simulations.missing import PROTOCOLS, missing_json, plan_missing, run_missing, write_missing
from simulations.report import summary_screen, write_report
from simulations.report.curves import curves_table
from simulations.report.missing import missing_table
from simulations.result import is_evaluated, read_result, with_ceiling
from simulations.sites import find_manifests, prepare_federation
from simulations.studies import ENGINES, RunFolder, resume, simulate

app = typer.Typer()

Overrides = Annotated[
    list[str] | None, typer.Argument(help="Settings on top of the study: privacy.mode=local …")
]
Data = Annotated[
    Path | None, typer.Option(help="Recordings: DIR/sites/NAME/manifest.csv [data/STUDY]")
]
Out = Annotated[Path | None, typer.Option(help="Folder of the results [runs/STUDY-TIME]")]
Engine = Annotated[str, typer.Option(help=f"One of {', '.join(ENGINES)}.")]


@app.command("simulate")
def simulate_command(
    study: Annotated[str, typer.Argument(help="Name in conf/studies, or a path to a YAML file.")],
    settings: Overrides = None,
    data: Data = None,
    out: Out = None,
    engine: Engine = "flwr",
    reproducible: Annotated[
        bool, typer.Option(help="Private noise from the seed: repeats, and protects nobody.")
    ] = False,
) -> None:
    """Run a study over simulated sites and report it."""
    chosen = load_study(study, settings or ())
    check_heeded(chosen, settings or ())
    where = data or Path("data") / chosen.name
    with following(chosen.name, chosen.training.num_server_rounds) as watch:
        run = simulate(
            chosen, where, _out(chosen, out), engine, reproducible=reproducible, watch=watch
        )
    _show(run, engine, where)


@app.command("resume")
def resume_command(
    run: Annotated[Path, typer.Argument(help="Folder of a simulated run that broke off.")],
    engine: Engine = "flwr",
    data: Data = None,
) -> None:
    """Go on with a simulated run that broke off, from its last checkpoint, and report it."""
    study = load_study(str(run / "study.yaml"))
    where = data or Path("data") / study.name
    with following(study.name, study.training.num_server_rounds) as watch:
        found = resume(run, engine, watch=watch)
    _show(found, engine, where)


@app.command("crossval")
def crossval_command(
    study: Annotated[str, typer.Argument(help="Name in conf/studies, or a path to a YAML file.")],
    settings: Overrides = None,
    data: Data = None,
    out: Out = None,
    folds: Annotated[
        int, typer.Option(help="Folds by person; 0 takes the study's own.", min=0)
    ] = 0,
    seeds: Annotated[
        int, typer.Option(help="Seeds, where the manifest holds the split.", min=1)
    ] = 5,
) -> None:
    """Run a study over folds of persons (or seeds) and say mean and spread."""
    chosen = load_study(study, settings or ())
    check_heeded(chosen, settings or ())
    check_folds(folds)
    runs = variants(chosen, folds or chosen.split.folds, seeds)
    where, target = data or Path("data") / chosen.name, _out(chosen, out)
    found = []
    for name, variant in runs.items():
        with following(f"{chosen.name} {name}", variant.training.num_server_rounds) as watch:
            found.append(repeat_study(variant, where, target, name, watch))
    console.print(spread_table(chosen, found))


@app.command("curves")
def curves_command(
    study: Annotated[str, typer.Argument(help="Name in conf/studies, or a path to a YAML file.")],
    settings: Overrides = None,
    epsilons: Annotated[
        str, typer.Option(help="Where on the curve; inf is without privacy.")
    ] = "1,2,4,8,inf",
    modes: Annotated[str, typer.Option(help="Of privacy.")] = "distributed,local",
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; goes on there [runs/STUDY-curves]")
    ] = None,
    folds: Annotated[int, typer.Option(help="As for crossval.", min=0)] = 0,
    seeds: Annotated[int, typer.Option(help="As for crossval.", min=1)] = 5,
    draws: Annotated[
        int, typer.Option(help="Runs of each fold or seed under privacy; noise differs.", min=1)
    ] = 1,
    beside: Annotated[
        list[Path] | None, typer.Option(help="Other curves.json to draw beside this one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the curves as JSON.")] = False,
) -> None:
    """Run a study at several ε in each mode, and draw how useful it stays."""
    spots, others = spots_of(epsilons, modes), [read_curves(path) for path in beside or ()]
    plan = plan_curves(study, tuple(settings or ()), data, out, folds, seeds, draws)
    curves = run_spots(plan, spots, partial(following, on=aside if as_json else console))
    picture = write_curves(curves, others, plan.out)
    if as_json:
        typer.echo(curves_json(curves), nl=False)
    else:
        console.print(curves_table(curves), f"picture: {picture}")


@app.command("missing")
def missing_command(
    study: Annotated[str, typer.Argument(help="Name in conf/studies, or a path to a YAML file.")],
    settings: Overrides = None,
    rates: Annotated[str, typer.Option(help="Percents of modalities.")] = "0,10,20,30,40,50",
    protocol: Annotated[str, typer.Option(help=f"One of {', '.join(PROTOCOLS)}.")] = "clips",
    draws: Annotated[int, typer.Option(help="Of what is missing, for each rate.", min=1)] = 1,
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; goes on there [runs/STUDY-missing]")
    ] = None,
    folds: Annotated[int, typer.Option(help="As for crossval.", min=0)] = 0,
    seeds: Annotated[int, typer.Option(help="As for crossval.", min=1)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Run a study while more and more modalities are missing, masked and filled with zeros."""
    chosen = load_study(study, settings or ())
    plan = plan_missing(chosen, rates, protocol, draws, folds, seeds)
    where = data or Path("data") / chosen.name
    target = out or Path("runs") / f"{chosen.name}-missing"
    found = run_missing(plan, where, target, partial(following, on=aside if as_json else console))
    picture = write_missing(found, target)
    if as_json:
        typer.echo(missing_json(found), nl=False)
    else:
        console.print(missing_table(found), f"picture: {picture}")


@app.command("corpus")
def corpus_command(
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    seed: int = 0,
    sites: int = 6,
    persons_per_site: int = 40,
    clips_per_person: int = 5,
    raters: Annotated[
        int, typer.Option(help="Raters of each clip: votes, dimensions, labels beside the class.")
    ] = 0,
) -> None:
    """Write a synthetic multimodal corpus as real files."""
    with console.status("writing …"):
        known = write_corpus(out, seed, sites, persons_per_site, clips_per_person, raters)
    console.print(f"{known.clips} clips of {len(known.sites)} sites in {out}.")


@app.command("federation")
def federation_command(
    study: Annotated[str, typer.Argument(help="Name in conf/studies, or a path to a YAML file.")],
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    settings: Overrides = None,
    data: Data = None,
) -> None:
    """Prepare throw-away sites, for `flwr run` typed by hand."""
    chosen = load_study(study, settings or ())
    seed = chosen.seed if chosen.privacy.mode == "none" else None
    made = prepare_federation(chosen, data or Path("data") / chosen.name, out, seed)
    console.print(f"{len(made.sites)} sites in {out.absolute()}: {', '.join(made.sites)}")


@app.command("draft")
def draft_command(
    data: Annotated[Path, typer.Argument(help="Recordings: DIR/sites/NAME/manifest.csv.")],
    out: Annotated[Path, typer.Argument(help="The study to write: NAME.yaml.")],
) -> None:
    """Write a first study for recordings of your own."""
    if out.exists():
        raise ConfigError(f"{out} is already there; choose another name.")
    study = draft_study(out.stem, tuple(find_manifests(data).values()))
    out.write_text(differences_yaml(study) + UNDER_PRIVACY, encoding="utf-8")
    console.print(f"{out}: {', '.join(study.modalities)} → {asked_for(study)}")


@app.command("studies")
def studies_command() -> None:
    """List the studies that come with Tacit."""
    for name in study_names():
        study = load_study(name)
        console.print(f"{name}: {', '.join(study.modalities)} → {asked_for(study)}")


@app.command("demo")
def demo_command(
    settings: Overrides = None,
    out: Annotated[Path, typer.Option(help="Folder of the demonstration.")] = Path("demo"),
    engine: Engine = "flwr",
) -> None:
    """Write a synthetic corpus, train on it with privacy and without, and show the result."""
    made = demonstrate(out, engine, tuple(settings or ()))
    console.print(summary_screen(made.result, made.report))


def _show(run: RunFolder, engine: str, where: Path) -> None:
    if not is_evaluated(run):
        console.print(f"Nobody was kept for evaluation; the model is {run.model}.")
        return
    result = read_result(run, engine, ceiling=with_ceiling(where))
    console.print(summary_screen(result, write_report(result, run.root)))


def _out(study: Study, out: Path | None) -> Path:
    return out or Path("runs") / f"{study.name}-{time.strftime('%Y%m%d-%H%M%S')}"
