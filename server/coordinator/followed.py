"""A run as whoever typed `tacit coordinator run` or `resume` follows it on the screen."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.affect import headline, is_told, read_described
from common.chosen import check_heeded
from common.console import open_console
from common.settings import load_study
from server.coordinator.runs import Asked, asked_in, resume, submit
from server.metrics import measured
from server.results import write_results

console = open_console()


def run(
    folder: Path,
    study: str,
    settings: tuple[str, ...],
    wait_s: float,
    out: Path | None,
    *,
    metrics: bool,
    port: int,
) -> None:
    """Run a study over the enrolled sites and follow it to its end; as `submit`.

    Args:
        folder: the coordinator's.
        study: a name that the sites know.
        settings: on top of it.
        wait_s: how long too few sites are waited for.
        out: the run's folder; None names one by the time.
        metrics: whether figures are written for Prometheus and TensorBoard too.
        port: that Prometheus is answered at; 0 for none.
    """
    chosen = load_study(study, settings, folder / "studies")
    check_heeded(chosen, settings)
    root = out or folder / "runs" / f"{chosen.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    asked = Asked(chosen.name, settings, wait_s)
    with measured(root, chosen.name, say, is_on=metrics, port=port) as watch:
        submit(folder, chosen, asked, root, watch)
    _finished(root)


def go_on(folder: Path, out: Path, *, metrics: bool, port: int) -> None:
    """Go on with a run that broke off and follow it to its end; as `resume`.

    Args:
        folder: the coordinator's.
        out: the run's.
        metrics: whether figures are written for Prometheus and TensorBoard too.
        port: that Prometheus is answered at; 0 for none.
    """
    with measured(out, asked_in(out).study, say, is_on=metrics, port=port) as watch:
        resume(folder, out, watch)
    _finished(out)


def _finished(run: Path) -> None:
    """Leave table and plot beside the model, and say where."""
    beside = "".join(f", {path.name}" for path in write_results(run))
    console.print(f"Finished: {run / 'model.safetensors'}{beside}", soft_wrap=True)


def say(line: dict[str, Any]) -> None:
    """One line of a run's progress."""
    if line["event"] == "started":
        after = f" after round {line['after_round']}" if "after_round" in line else ""
        console.print(f"started{after} with {', '.join(line['sites'])}")
    elif line["event"] == "note":
        console.print(f"  {line['text']}", style="yellow", markup=False)
    elif line["event"] == "round":
        found = headline(read_described(line)) if is_told(line) else None
        said = f", {found.name} {found.text}" if found else ""
        without = f", without {', '.join(line['missing'])}" if line.get("missing") else ""
        console.print(f"round {line['round']}: {', '.join(line['sites'])}{without}{said}")
