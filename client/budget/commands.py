"""`tacit budget`: what was spent here, what it means, whether the ledger can be trusted."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.progress import track

from client.budget import form, tables
from client.budget.accounts import budget_of, now
from client.budget.asking import setting_asked, targets
from client.budget.countersigning import countersign_file, signed_head
from client.budget.exporting import exported
from client.budget.places import find_places, look, one_place
from client.budget.planning import plan_form, planned
from client.budget.reporting import report, write_report
from client.budget.statement import published
from client.budget.verifying import all_verified
from common.console import open_console
from common.errors import ExitCode
from common.heads import heads_to_json
from common.statements import to_json, write_statement

app = typer.Typer(
    help="What was spent of the privacy budget, and what it means.", no_args_is_help=True
)
console = open_console()
aside = open_console(stderr=True)
T = TypeVar("T")

Where = Annotated[Path, typer.Argument(help="A site's folder, a run's, or one of runs.")]
OneSite = Annotated[Path, typer.Argument(help="A site's folder.")]
StudyName = Annotated[
    str | None, typer.Argument(help="Name in conf/studies, or a path to a YAML file.")
]
Settings = Annotated[
    list[str] | None, typer.Argument(help="Settings on top of the study: privacy.mode=local …")
]
Persons = Annotated[int | None, typer.Option(help="Persons (or records) who train at each site.")]
Epsilons = Annotated[
    list[float] | None, typer.Option(help="ε to plan for; several times [1, 2, 4, 8]")
]
Sigma = Annotated[float | None, typer.Option(help="σ, to ask how many rounds it allows.")]
Parameters = Annotated[
    int | None, typer.Option(help="Trained values of the model [the study's, or 10000]")
]
AsJson = Annotated[bool, typer.Option("--json", help="For machines: JSON and nothing else.")]


@app.command("show")
def show_command(path: Where = Path(), as_json: AsJson = False) -> None:
    """Say what each study spent, of which cap, what is left, and against whom it holds."""
    found = tuple(budget_of(place, now()) for place in _followed(find_places(path), "reading"))
    _print(form.shown(found)) if as_json else console.print(tables.show(found))


@app.command("report")
def report_command(
    path: Where = Path(),
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write a page for the data-protection officer, and its data, signed by the site."""
    if as_json:
        _print(report(one_place(path), now()))
        return
    for place in _followed(find_places(path), "writing"):
        written = write_report(place, out, now())
        console.print(f"{written.page} ({written.data.name}, signed)", highlight=False)


@app.command("plan")
def plan_command(
    study: StudyName = None,
    settings: Settings = None,
    persons: Persons = None,
    sites: Annotated[int, typer.Option(help="Sites that take part.")] = 6,
    epsilon: Epsilons = None,
    delta: Annotated[float | None, typer.Option(help="δ of the whole run.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Training rounds.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps a round, where noise is local.")] = None,
    rate: Annotated[float | None, typer.Option(help="Sampling rate q.")] = None,
    noise_multiplier: Sigma = None,
    mode: Annotated[str | None, typer.Option(help="local or distributed.")] = None,
    unit: Annotated[str | None, typer.Option(help="person or record.")] = None,
    parameters: Parameters = None,
    as_json: AsJson = False,
) -> None:
    """Say what an ε would ask for and give: noise, rounds, usefulness. No data is touched."""
    size = {"persons": persons, "sites": sites, "parameters": parameters}
    training = {"num_server_rounds": rounds, "local_steps": steps}
    privacy = {"target_delta": delta, "sampling_rate": rate, "mode": mode, "unit": unit}
    given = {**size, **training, **privacy, "noise_multiplier": noise_multiplier}
    setting = setting_asked(study, settings or (), given)
    rows = tuple(planned(setting, one) for one in _followed(targets(epsilon, setting), "planning"))
    _print(plan_form(setting, rows)) if as_json else console.print(tables.plan(setting, rows))


@app.command("verify")
def verify_command(
    path: Where = Path(),
    heads: Annotated[Path | None, typer.Option(help="Heads that somebody kept.")] = None,
    signed_report: Annotated[
        Path | None, typer.Option("--report", help="A report's JSON, to check its signature.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check ledgers: chain, triggers, schema, kept heads. Exit code 3 where one is not sound."""
    found = tuple(all_verified(path, heads, signed_report))
    _print(form.verified(found)) if as_json else console.print(tables.verified(found))
    if not all(one.is_sound for one in found):
        raise typer.Exit(ExitCode.PRIVACY)


@app.command("export")
def export_command(site: OneSite = Path()) -> None:
    """Print a site's whole account in dp_accounting's words, as JSON, for another accountant."""
    place = one_place(site)
    _print(exported(place.folder.name, look(place.folder), now()))


@app.command("head")
def head_command(site: OneSite = Path()) -> None:
    """Print the ledger's head, signed, for others to keep: an older copy is told by it."""
    typer.echo(heads_to_json([signed_head(one_place(site).folder, now())]), nl=False)


@app.command("countersign")
def countersign_command(
    site: OneSite, heads: Annotated[Path, typer.Argument(help="A file of other sites' heads.")]
) -> None:
    """Countersign other sites' heads in a file, and keep them; an older head is refused."""
    signed = countersign_file(one_place(site).folder, heads)
    console.print(f"{len(signed)} heads in {heads}, countersigned and kept.", highlight=False)


@app.command("publish")
def publish_command(
    site: OneSite,
    study: Annotated[str | None, typer.Option(help="The study that is asked about.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write: RUN/budgets/SITE.json")] = None,
) -> None:
    """Write what the site's policy lets a coordinator know of its budget, signed."""
    statement = published(one_place(site), study, now())
    if out is None:
        typer.echo(to_json(statement), nl=False)
        return
    write_statement(out, statement)
    console.print(f"{out}: {len(statement.studies)} studies of {statement.site}.", highlight=False)


def _print(content: dict[str, object]) -> None:
    typer.echo(form.text(content), nl=False)


def _followed(things: Iterable[T], doing: str) -> Iterator[T]:
    """Show a bar beside the output while several things take their time."""
    many = tuple(things)
    yield from track(many, f"{doing} …", console=aside, transient=True, disable=len(many) < 2)
