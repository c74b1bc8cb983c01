"""Progress of a run on a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from common.affect import is_told, read_described
from common.affect.figures import headline
from common.console import open_console
from server.following import Watch

console = open_console()
aside = open_console(stderr=True)
"""Where progress goes when standard output is for a machine."""


@contextmanager
def following(title: str, rounds: int, on: Console = console) -> Iterator[Watch]:
    """A progress bar over rounds; yields what takes each line of a run's progress."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("round {task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=on) as bar:
        task = bar.add_task(title, total=rounds, said="starting …")

        def watch(line: dict[str, Any]) -> None:
            if line["event"] == "started":
                bar.update(task, said=f"{len(line['sites'])} sites")
            elif line["event"] == "note":
                bar.console.print(f"  {line['text']}", style="yellow", markup=False)
            elif line["event"] == "round":
                bar.update(task, completed=line["round"])
                if is_told(line):
                    first = headline(read_described(line))
                    bar.update(task, said=f"{first.name} {first.text}")

        yield watch
