"""What is being measured, on the terminal's error stream: standard output is for the outcome."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from common.console import open_console


@contextmanager
def measuring(title: str, steps: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar; yields what is called before each step with what it is.

    Args:
        title: of the bar.
        steps: how often it will be called.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=open_console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=steps, said="")
        begun = 0

        def watch(said: str) -> None:
            nonlocal begun
            bar.update(task, completed=begun, said=said)
            begun += 1

        yield watch
        bar.update(task, completed=steps, said="")
