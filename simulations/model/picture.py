"""A model as a picture: what it reads on the left, what it says on the right."""

import textwrap
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from common.errors import ConfigError
from common.plots import INK, LINES, MUTED, STYLE, as_svg, clear_figure
from simulations.model.describe import Branch, Description
from simulations.model.screen import amount, shape_of

WIDTH, HEIGHT, GAP = 2.2, 0.82, 0.75
PRINTED = "#1b1e23"
"""What ink becomes outside a page."""
COLOURS = {"input": MUTED, "encoder": LINES[0], "fusion": LINES[1], "head": LINES[2]}
MOST_LETTERS, MOST_LINES = 30, 2


def draw_model(found: Description, path: Path) -> Path:
    """Draw a model to an .svg or .png file; returns the path.

    Raises:
        ConfigError: the file would be neither.
    """
    if path.suffix not in (".svg", ".png"):
        raise ConfigError(f"--plot is {path}; expected a name that ends in .svg or .png.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({**STYLE, "text.color": INK if path.suffix == ".svg" else PRINTED}):
        figure = _figure(found)
        if path.suffix == ".svg":
            path.write_text(as_svg(figure, f"model-{found.study}", _said(found)), encoding="utf-8")
        else:
            figure.savefig(path, dpi=150, facecolor="white", metadata={"Software": None})
    return path


def _said(found: Description) -> str:
    encoders = ", ".join(one.name for one in found.branches if one.kind == "encoder")
    return f"The model of {found.study}: {encoders} encoded, fused, {len(found.outputs)} outputs"


def _figure(found: Description) -> Figure:
    encoders = [one for one in found.branches if one.kind == "encoder"]
    rest = [one for one in found.branches if one.kind != "encoder" and not _is_idle(one)]
    columns, rows = 3 + len(rest), len(encoders)
    step, tall = WIDTH + GAP, max(1.3, rows * (HEIGHT + 0.3))
    figure, axes = clear_figure(0.85 * (columns * step - GAP + 0.4), 0.85 * (tall + 0.55))
    axes.set(xlim=(-0.2, columns * step - GAP + 0.2), ylim=(-0.1, tall + 0.45), aspect="equal")
    axes.set_axis_off()
    middle = tall / 2
    places = [tall - (row + 0.5) * tall / rows for row in range(rows)]
    for one, y in zip(encoders, places, strict=True):
        _box(axes, 0, y, "input", one.name, f"{one.front_end}\n{shape_of(one.reads)}")
        _arrow(axes, WIDTH, y, step, y)
        _box(axes, step, y, "encoder", one.layer, _size(one))
        _arrow(axes, step + WIDTH, y, 2 * step, middle)
    for column, one in enumerate(rest, start=2):
        _box(axes, column * step, middle, one.kind, one.layer, _size(one))
        _arrow(axes, column * step + WIDTH, middle, (column + 1) * step, middle)
    _box(
        axes,
        (columns - 1) * step,
        middle,
        "input",
        f"{len(found.outputs)} outputs",
        _outputs(found),
    )
    up, down = amount(found.upload_bytes, "B"), amount(found.download_bytes, "B")
    text = f"{found.study}: {found.parameters:,} parameters; a round sends {down} down, {up} up"
    axes.text(0, tall + 0.2, text, fontweight="bold", va="center")
    return figure


def _is_idle(branch: Branch) -> bool:
    """Whether a part does nothing, as the head of a fusion whose tokens are scores."""
    return branch.layer == "Identity"


def _size(branch: Branch) -> str:
    if not branch.parameters:
        return f"{branch.kind}\nno parameters"
    cost = amount(branch.multiply_adds, "")
    return f"{branch.parameters:,} parameters\n{cost} multiply-adds"


def _outputs(found: Description) -> str:
    """The names of what is said, as many as the box holds."""
    lines = textwrap.wrap(", ".join(found.outputs), MOST_LETTERS)
    return "\n".join(lines if len(lines) <= MOST_LINES else (*lines[: MOST_LINES - 1], "…"))


def _box(axes: Axes, x: float, y: float, kind: str, title: str, text: str) -> None:
    box = FancyBboxPatch(
        (x, y - HEIGHT / 2), WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.1"
    )
    box.set(facecolor=(*mpl.colors.to_rgb(COLOURS[kind]), 0.14), edgecolor=COLOURS[kind])
    axes.add_patch(box)
    axes.text(x + WIDTH / 2, y + 0.22, title, ha="center", va="center", fontsize=9, weight="bold")
    axes.text(x + WIDTH / 2, y - 0.14, text, ha="center", va="center", fontsize=7.5)


def _arrow(axes: Axes, x: float, y: float, to_x: float, to_y: float) -> None:
    arrow = FancyArrowPatch((x, y), (to_x, to_y), arrowstyle="-|>", mutation_scale=9, shrinkA=2)
    arrow.set(color=MUTED, linewidth=1.2)
    axes.add_patch(arrow)
