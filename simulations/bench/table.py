"""A benchmark's outcome for people (a table) and for machines (a JSON document).

Every benchmark makes an `Outcome` of `Figure`s (simulations/bench/figures.py) on a machine
(simulations/bench/machine.py); what is here prints any of them. The document follows
docs/schemas/bench.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import floor, log10
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from simulations.bench.figures import Figure, Outcome

VERSION = 1
"""Of the document; raised when a reader of the old one would misread the new one."""

_STYLES = {"met": "green", "MISSED": "bold red", "reported": "", "not measured": "yellow"}
_SIGNS = {"faster": "≥", "least": "≥", "share": "≤", "most": "≤"}
_SCALES = {
    "s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")),
}


def document(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome as what JSON can hold."""
    return {
        "version": VERSION,
        "benchmark": outcome.name,
        "title": outcome.title,
        "baseline": outcome.baseline,
        "machine": dict(outcome.machine),
        "options": dict(outcome.options),
        "figures": [_figure(figure) for figure in outcome.figures],
        "curves": [_curve(asdict(curve)) for curve in outcome.curves],
        "summary": outcome.summary,
    }


def screen(outcome: Outcome) -> Group:
    """Return the table, the machine, and what a reader must know, for a terminal."""
    notes = list(dict.fromkeys(figure.note for figure in outcome.figures if figure.note))
    return Group(
        _table(outcome, notes),
        *(Text(f"{number}) {note}") for number, note in enumerate(notes, 1)),
        Text(machine_line(outcome.machine), style="dim"),
        Text(summary_line(outcome)),
    )


def machine_line(machine: Mapping[str, Any]) -> str:
    """Return the machine in a line."""
    packages = [f"{name} {value}" for name, value in machine["packages"].items() if value]
    where = f"{machine['cpu']}, {machine['cores']} cores"
    if machine["memory_bytes"]:
        where += f", {machine['memory_bytes'] / 2**30:.0f} GiB"
    if machine["accelerator"]:
        where += f", {machine['accelerator']}"
    told = ", ".join((f"Python {machine['python']}", *packages))
    load = f", load {machine['load']:g}" if machine["load"] >= 0 else ""
    return f"{where}; {machine['system']}; {told}; {machine['date']}{load}"


def summary_line(outcome: Outcome) -> str:
    """Return how many figures are met."""
    counts = outcome.summary
    asked = counts["met"] + counts["missed"]
    if not asked and not counts["not_measured"]:
        return "Nothing was asked for these sizes."
    text = f"{counts['met']} of {asked} figures met"
    text += f", {counts['missed']} missed" if counts["missed"] else ""
    return text + (f", {counts['not_measured']} not measured" if counts["not_measured"] else "")


def quantity(value: float | None, unit: str) -> str:
    """Return a number with three digits and the unit that suits its size."""
    if value is None:
        return "–"
    for scale, name in _SCALES.get(unit, ()):
        if abs(value) >= scale:
            return f"{number(value / scale)} {name}"
    return f"{number(value)} {unit}".strip()


def number(value: float) -> str:
    """Return a number with three digits, and no exponent between 0.001 and a million."""
    if value == int(value) and abs(value) < 1000:
        return str(int(value))
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:.{max(0, 2 - floor(log10(abs(value))))}f}"


def _table(outcome: Outcome, notes: Sequence[str]) -> Table:
    names = list(dict.fromkeys(name for figure in outcome.figures for name in figure.setting))
    table = Table(title=outcome.title, title_justify="left", box=SIMPLE_HEAD, padding=0)
    table.add_column("what", min_width=16)
    for name in (*names, outcome.baseline, "Tacit", "ratio", "asked", "met"):
        words = name == "met" or any(isinstance(f.setting.get(name), str) for f in outcome.figures)
        table.add_column(name, justify="left" if words else "right", no_wrap=name != "met")
    for figure in outcome.figures:
        table.add_row(*_cells(figure, names, notes), style=_STYLES[figure.verdict])
    return table


def _cells(figure: Figure, names: Sequence[str], notes: Sequence[str]) -> list[str]:
    mark = f" {notes.index(figure.note) + 1})" if figure.note else ""
    asked = _compared(figure, figure.asked)
    return [
        figure.what + mark,
        *(_set(figure.setting.get(name, "")) for name in names),
        quantity(figure.baseline, figure.unit),
        quantity(figure.tacit, figure.unit),
        "–" if figure.ratio is None else _compared(figure, figure.ratio),
        "–" if figure.asked is None else f"{_SIGNS[figure.kind]} {asked}",
        figure.verdict,
    ]


def _compared(figure: Figure, value: float | None) -> str:
    """Return what is compared, as it is read: 12× less, a share of 0.5, 10 ms."""
    if figure.kind in ("most", "least") or value is None:
        return quantity(value, figure.unit)
    return f"{number(value)}×" if figure.kind == "faster" else number(value)


def _set(value: float | str) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        **asdict(figure),
        "setting": dict(figure.setting),
        "met": figure.met,
        "verdict": figure.verdict.lower(),
    }


def _curve(curve: dict[str, Any]) -> dict[str, Any]:
    return {**curve, "points": [list(point) for point in curve["points"]]}
