"""A run over Flower's deployment engine: a SuperLink, and one SuperNode a site, on loopback.

The processes are those of a deployment: each SuperNode starts a SuperExec, which starts a
process of the site's app for every message. What a deployment adds (TLS, registered keys, a
pinned bundle, one machine a site) is not here: this shows that the run is the same.
"""

from collections.abc import Callable
from contextlib import ExitStack

from server.flwr_cli import RunConfig
from simulations.flower import BIN, Workplace, free_port, play_at, process, superlink, workplace


def run_over_supernodes(num_nodes: int, run_config: RunConfig, watch: Callable[[], bool]) -> None:
    """Start a SuperLink and the SuperNodes, run the app on them, stop them all.

    Args:
        num_nodes: SuperNodes; the i-th is the i-th site of the federation.
        run_config: the run's flat configuration; paths in it must be absolute.
        watch: as for `run_with_flower`.

    Raises:
        RunFailed: the ServerApp ended with an error.
        EnvironmentFault: Flower could not be started.
    """
    with workplace() as place, superlink(place), ExitStack() as nodes:
        for number in range(num_nodes):
            home = place.home.parent / f"node-{number}"
            home.mkdir()
            nodes.enter_context(process(_supernode(place, number, num_nodes), place, home))
        play_at(place, run_config, watch)


def _supernode(place: Workplace, number: int, num_nodes: int) -> list[str]:
    """The command line of one SuperNode, which knows its place in the federation."""
    command = [str(BIN / "flower-supernode"), "--insecure", "--isolation", "subprocess"]
    command += ["--superlink", f"127.0.0.1:{place.port}", "--port", str(free_port())]
    return [*command, "--node-config", f"partition-id={number} num-partitions={num_nodes}"]
