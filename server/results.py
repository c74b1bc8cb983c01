"""What a finished run leaves for people: a table with a row a round, and a plot of it.

The model and the resolved study stand beside them already.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.ticker import MaxNLocator

from common.affect import is_told, read_described
from common.affect.figures import headline
from common.files import write_atomically
from common.plots import INK, LINES, STYLE, clear_figure
from server.following import progress

TABLE = "rounds.csv"
PLOT = "rounds.svg"
COLUMNS = ("round", "sites", "missing", "seconds", "figure", "value", "low", "high")


def write_results(folder: Path) -> tuple[Path, ...]:
    """Write the table, and the plot where some round was evaluated; returns what was written.

    Args:
        folder: of a run.
    """
    rounds = [row_of(line) for line in progress(folder) if line["event"] == "round"]
    if not rounds:
        return ()
    write_atomically(folder / TABLE, table_of(rounds).encode())
    told = [row for row in rounds if row["figure"]]
    if not told:
        return (folder / TABLE,)
    write_atomically(folder / PLOT, plot_of(told))
    return folder / TABLE, folder / PLOT


def row_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """A round's line of progress as a row of the table."""
    row = dict.fromkeys(COLUMNS, "") | {
        "round": line["round"],
        "sites": " ".join(line["sites"]),
        "missing": " ".join(line.get("missing") or ()),
        "seconds": f"{line['seconds']:.3f}",
    }
    if not is_told(line):
        return row
    found = headline(read_described(line))
    low, high = found.span or (found.value, found.value)
    return row | {"figure": found.name, "value": found.value, "low": low, "high": high}


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV."""
    out = io.StringIO()
    table = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return out.getvalue()


def plot_of(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The main figure and its interval over rounds, as SVG; equal rows give equal bytes."""
    at, values, low, high = zip(
        *((row["round"], row["value"], row["low"], row["high"]) for row in rows), strict=True
    )
    out = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": "rounds"}):
        figure, axes = clear_figure(6.4, 3.4)
        axes.fill_between(at, low, high, color=LINES[0], alpha=0.2, linewidth=0)
        axes.plot(at, values, color=LINES[0], marker="o", markersize=3)
        axes.set(xlabel="round", ylabel=f"{rows[0]['figure']} on persons never seen")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.patch.set(alpha=1, facecolor="white")
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue().replace(INK, "black").encode()
