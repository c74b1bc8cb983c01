"""Commands that attack."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from common.console import open_console
from common.errors import ExitCode
from simulations.attacks.screen import WIDTH, attacks_screen
from simulations.attacks.secagg import TITLES, attack_secagg
from simulations.console import console

app = typer.Typer(help="Attack the secure sum, as a coordinator that cheats.", no_args_is_help=True)


@app.command("secagg")
def secagg_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Six attacks on this project and on Flower's SecAgg+; exits 1 if one succeeds on this one."""
    with tempfile.TemporaryDirectory() as folder, _following() as watch:
        found = attack_secagg(Path(folder), watch)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2, ensure_ascii=False))
    else:
        Console(width=_width()).print(attacks_screen(found))
    if not found.all_refused:
        raise typer.Exit(ExitCode.FAILED)


def _width() -> int:
    """Columns to print in: as many as there are, if that is less than the table would like."""
    return min(WIDTH, console.width)


@contextmanager
def _following() -> Iterator[Callable[[str], None]]:
    """A progress bar over attacks, on standard error."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn()
    with Progress(*columns, console=open_console(stderr=True), transient=True) as bar:
        task = bar.add_task("laying out five sites …", total=len(TITLES) + 1, completed=-1)

        def watch(title: str) -> None:
            bar.update(task, advance=1, description=title)

        yield watch
