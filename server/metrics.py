"""A run's figures for Prometheus and TensorBoard: sums over all sites, and who took part.

Nothing here is of one site beyond its name, nor of one person. Both libraries are optional:
pip install 'tacit[metrics]'.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from common.affect import is_told, read_described
from common.affect.figures import headline
from common.errors import ConfigError, EnvironmentFault
from server.following import Watch

PROMETHEUS = "metrics.prom"
TENSORBOARD = "tensorboard"
MISSING = "{name} is not installed here: pip install 'tacit[metrics]' and run again."
GAUGES = {
    "round": "Rounds that are through.",
    "contributors": "Sites in the last round's sum.",
    "missing": "Sites that the last round went without.",
    "seconds": "How long the last round took.",
    "finished": "1 once the model is written.",
}


class Metrics:
    """Takes a run's progress line by line, and keeps the figures of the newest.

    Args:
        folder: of the run; gets metrics.prom (for node_exporter's textfile collector) and
            tensorboard/.
        study: its name.
        port: at which 127.0.0.1 also answers Prometheus; 0 for none.

    Raises:
        ConfigError: a library is missing.
        EnvironmentFault: the port is taken.
    """

    def __init__(self, folder: Path, study: str, port: int = 0) -> None:
        prometheus = _library("prometheus_client", "prometheus-client")
        board = _library("torch.utils.tensorboard", "tensorboard")
        self._write_text, self._path = prometheus.write_to_textfile, folder / PROMETHEUS
        self._registry = prometheus.CollectorRegistry()
        self._gauges = {
            name: prometheus.Gauge(f"tacit_{name}", said, ["study"], registry=self._registry)
            for name, said in GAUGES.items()
        }
        said = "The study's main figure, over the held-out persons of all sites together."
        self._figure = prometheus.Gauge(
            "tacit_figure", said, ["study", "name"], registry=self._registry
        )
        said = "Whether a site is in the last sum."
        self._present = prometheus.Gauge(
            "tacit_site_present", said, ["study", "site"], registry=self._registry
        )
        self._study = study
        self._server = _served(prometheus, port, self._registry) if port else None
        self._open: Callable[[], Any] = lambda: board.SummaryWriter(
            log_dir=os.fspath(folder / TENSORBOARD)
        )

    @cached_property
    def _writer(self) -> Any:
        """TensorBoard's file, made with the first line: a run's folder has to be empty before."""
        return self._open()

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Take one line of progress; other lines than of rounds and of the end say nothing."""
        if line["event"] == "round":
            self._round(line)
        if line["event"] in ("round", "finished"):
            self._gauges["finished"].labels(self._study).set(line["event"] == "finished")
            self._write_text(os.fspath(self._path), self._registry)
            self._writer.flush()

    def _round(self, line: Mapping[str, Any]) -> None:
        at = int(line["round"])
        for name, value in figures_of(line).items():
            self._gauges[name].labels(self._study).set(value)
            self._writer.add_scalar(f"run/{name}", value, at)
        if is_told(line):
            figure = headline(read_described(line))
            self._figure.labels(self._study, figure.name).set(figure.value)
            self._writer.add_scalar(f"run/{figure.name}", figure.value, at)
        for site, is_there in present_in(line).items():
            self._present.labels(self._study, site).set(is_there)

    def close(self) -> None:
        """Stop answering, and close what is written."""
        if "_writer" in vars(self):
            self._writer.close()
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()


@contextmanager
def measured(folder: Path, study: str, watch: Watch, *, is_on: bool, port: int) -> Iterator[Watch]:
    """Hand lines of progress on, and keep their figures where that is asked for.

    Args:
        folder: of the run; nothing is written to it before the first line.
        study: its name.
        watch: gets each line.
        is_on: whether figures are kept; a port asks for it too.
        port: as for `Metrics`.

    Raises:
        ConfigError: a library is missing.
        EnvironmentFault: the port is taken.
    """
    if not is_on and not port:
        yield watch
        return
    metrics = Metrics(folder, study, port)

    def both(line: dict[str, Any]) -> None:
        watch(line)
        metrics(line)

    try:
        yield both
    finally:
        metrics.close()


def figures_of(line: Mapping[str, Any]) -> dict[str, float]:
    """What a round's line says in numbers; no site's and no person's own."""
    return {
        "round": float(line["round"]),
        "contributors": float(len(line["sites"])),
        "missing": float(len(line.get("missing") or ())),
        "seconds": float(line["seconds"]),
    }


def present_in(line: Mapping[str, Any]) -> dict[str, bool]:
    """Which sites are in a round's sum."""
    return dict.fromkeys(line["sites"], True) | dict.fromkeys(line.get("missing") or (), False)


def _library(module: str, name: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(MISSING.format(name=name)) from error


def _served(prometheus: Any, port: int, registry: Any) -> Any:
    try:
        return prometheus.start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise EnvironmentFault(f"Port {port} is taken; choose another.") from error
