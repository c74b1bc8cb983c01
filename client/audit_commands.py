"""Commands that put a site's own guarantees to the test."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.progress import Progress
from rich.table import Table

from client.audit import AuditReport, Watch, audit_study, modes_of
from common.console import open_console
from common.errors import ExitCode
from common.settings import load_study

app = typer.Typer(help="Put this site's own guarantees to the test.", no_args_is_help=True)
console = open_console()
FORMAT = 1


@app.callback()
def _group() -> None:
    """Keep `dp` a command of its own while it is the only one."""


@app.command("dp")
def dp_command(
    study: Annotated[
        str | None, typer.Argument(help="A study; none: a small one in both modes.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Argument(help="Settings on top of it: privacy.mode=local …")
    ] = None,
    repetitions: Annotated[
        int, typer.Option(help="Coin tosses of each canary; 0: enough for the noise.", min=0)
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Test noise, clipping, sampling, accounting and masks of this build's own DP training."""
    chosen = modes_of(load_study(study, settings or ()) if study else None)
    with following() as watch:
        found = [audit_study(o, os.urandom, repetitions=repetitions, watch=watch) for o in chosen]
    if as_json:
        typer.echo(json.dumps(to_json(found), allow_nan=False))
    else:
        console.print(*map(report_table, found), sep="\n")
    raise typer.Exit(ExitCode.OK if all(one.holds for one in found) else ExitCode.PRIVACY)


@contextmanager
def following() -> Iterator[Watch]:
    """Show how far an audit is, on the screen of errors."""
    with Progress(console=open_console(stderr=True), transient=True) as progress:
        task = progress.add_task("steps", total=None)

        def watch(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield watch


def report_table(report: AuditReport) -> Group:
    """Return what an audit showed, for a person to read."""
    table = Table(title=_title(report), title_justify="left")
    for column in ("tested", "measured", "allowed", "verdict"):
        table.add_column(column, justify="right" if column == "measured" else "left")
    for check in report.checks:
        allowed = f"{check.bound} {check.allowed:.3g}"
        style = "" if check.holds else "bold red"
        table.add_row(check.tested, f"{check.measured:.3g}", allowed, check.verdict, style=style)
    return Group(table, _in_words(report))


def to_json(reports: list[AuditReport]) -> dict[str, Any]:
    """Return what audits showed, for a machine; what is infinite is null."""
    return {
        "format": FORMAT,
        "holds": all(one.holds for one in reports),
        "audits": [_audit_to_json(one) for one in reports],
    }


def _audit_to_json(report: AuditReport) -> dict[str, Any]:
    plain = {name: _finite(value) for name, value in asdict(report).items() if name != "checks"}
    checks = [
        {name: _finite(value) for name, value in asdict(check).items() if name != "fault"}
        | {"holds": check.holds, "verdict": check.verdict}
        for check in report.checks
    ]
    return {**plain, "holds": report.holds, "checks": checks}


def _finite(value: Any) -> Any:
    is_number = isinstance(value, float)
    return None if is_number and not abs(value) < float("inf") else value


def _title(report: AuditReport) -> str:
    how = "noise at each site" if report.mode == "local" else "noise in shares"
    sigma = f"σ = {report.noise_multiplier:.4g}"
    return f"{report.study}: {how}, by {report.unit}, {sigma}, {report.seconds:.1f} s"


def _in_words(report: AuditReport) -> str:
    return (
        f"One step with everybody in it, by {report.unit}: ε is at least "
        f"{report.epsilon_lower:.2f}, charged {report.epsilon_charged:.2f}, at δ = "
        f"{report.delta:g}. {'Everything holds.' if report.holds else 'This build is at fault.'}\n"
    )
