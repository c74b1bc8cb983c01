"""A model's description on a terminal, and for machines."""

from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from simulations.model.describe import BATCH, Branch, Description

UNITS = ("", "k", "M", "G", "T")


def as_json(found: Description) -> dict[str, Any]:
    """A description as JSON values."""
    totals = {"parameters": found.parameters, "multiply_adds": found.multiply_adds}
    return {"version": 1, **asdict(found), **totals, "timed_clips": BATCH}


def describe_table(found: Description) -> Table:
    """A line for each branch; an encoder's front end stands below its modality."""
    title = f"{found.study}: {', '.join(found.outputs)}"
    table = Table(
        title=title, min_width=len(title), box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    timed = found.branches[0].forward_ms is not None
    table.add_column("branch", overflow="fold")
    for name in ("parameters", "sent up", "products", *(("ms", "back") if timed else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found.branches:
        table.add_row(*_cells(one), *(_times(one) if timed else ()))
    table.add_section()
    up, cost = amount(found.upload_bytes, "B"), amount(found.multiply_adds, "")
    table.add_row("together", f"{found.parameters:,}", up, cost, style="bold")
    table.caption = _caption(found, timed)
    return table


def _caption(found: Description, timed: bool) -> str:
    down, up = amount(found.download_bytes, "B"), amount(found.upload_bytes, "B")
    said = (
        f"With {found.sites} sites a round sends the model down ({down}) and one masked vector up "
        f"({up}); keys and shares come on top. Products are multiply-adds of one clip forward."
    )
    times = f" Times are of {BATCH} clips, forward and back, on one core of this machine now."
    return said + times if timed else said


def amount(value: float, unit: str) -> str:
    """A number in three digits with k, M or G before its unit."""
    power = 0
    while value >= 999.5 and power < len(UNITS) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {UNITS[power]}{unit}".strip()


def shape_of(shape: tuple[int, ...]) -> str:
    """A shape as people write it."""
    return " × ".join(map(str, shape))


def _cells(one: Branch) -> tuple[str, ...]:
    reads = f"{one.front_end} {shape_of(one.reads)}".strip()
    name = f"{one.name}: {one.layer}\n  [dim]reads {reads}[/dim]"
    return (
        name,
        f"{one.parameters:,}",
        amount(one.upload_bytes, "B"),
        amount(one.multiply_adds, ""),
    )


def _times(one: Branch) -> tuple[str, str]:
    return f"{one.forward_ms or 0:.2f}", f"{one.backward_ms or 0:.2f}"
