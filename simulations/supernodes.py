"""A run over Flower's deployment engine: a SuperLink, and one SuperNode a site, on loopback.

The processes are those of a deployment: each SuperNode hands its tasks to the site's runner. What a
deployment adds (TLS, registered keys, approved bundles, one machine a site) is not here: this shows
that the run is the same. Flower's own way, a process of the site's app for every message, is kept
as what `tacit bench round` measures against.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from common.keys import write_secret
from server.flwr_cli import RunConfig
from simulations.flower import BIN, Workplace, free_port, play_at, process, superlink, workplace


def run_over_supernodes(
    num_nodes: int, run_config: RunConfig, watch: Callable[[], bool], *, with_runner: bool = True
) -> None:
    """Start a SuperLink and the SuperNodes, run the app on them, stop them all.

    Args:
        num_nodes: SuperNodes; the i-th is the i-th site of the federation.
        run_config: the run's flat configuration; paths in it must be absolute.
        watch: as for `run_with_flower`.
        with_runner: one persistent runner a site; otherwise Flower starts a process a message.

    Raises:
        RunFailed: the ServerApp ended with an error.
        EnvironmentFault: Flower could not be started.
    """
    site = _with_runner if with_runner else _by_flower
    with workplace() as place, superlink(place), ExitStack() as nodes:
        for number in range(num_nodes):
            nodes.enter_context(site(place, number, num_nodes))
        play_at(place, run_config, watch)


@contextmanager
def _by_flower(place: Workplace, number: int, num_nodes: int) -> Iterator[None]:
    home = place.home.parent / f"node-{number}"
    home.mkdir()
    command = _supernode(place, number, num_nodes, free_port())
    with process([*command, "--isolation", "subprocess"], place, home):
        yield


@contextmanager
def _with_runner(place: Workplace, number: int, num_nodes: int) -> Iterator[None]:
    home, port = place.home.parent / f"node-{number}", free_port()
    secret, runner_home = home / "runtime.secret", home / "runner"
    runner_home.mkdir(parents=True)
    write_secret(secret, os.urandom(32).hex().encode())
    command = _supernode(place, number, num_nodes, port)
    command += ["--isolation", "process", "--superexec-auth-secret-file", str(secret)]
    runner = [sys.executable, "-m", "simulations.runner", f"127.0.0.1:{port}", str(secret)]
    with process(command, place, home), process(runner, place, runner_home):
        yield


def _supernode(place: Workplace, number: int, num_nodes: int, port: int) -> list[str]:
    """The command line of one SuperNode, which knows its place in the federation."""
    command = [str(BIN / "flower-supernode"), "--insecure", "--port", str(port)]
    command += ["--superlink", f"127.0.0.1:{place.port}", "--host", "127.0.0.1"]
    return [*command, "--node-config", f"partition-id={number} num-partitions={num_nodes}"]
