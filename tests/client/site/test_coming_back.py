"""A SuperNode whose coordinator answers with an error stays in the federation, or starts anew."""

import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from flwr.proto.fleet_pb2 import ActivateNodeResponse, PullMessagesResponse
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatResponse

from client.site import supernode
from client.site.supernode import SteadyHeartbeat, ending


class Coordinator(ThreadingHTTPServer):
    """Says yes to a SuperNode, but for one kind of request."""

    def __init__(self, fails):
        self.asked, self.fails = Counter(), fails
        super().__init__(("127.0.0.1", 0), Answering)


class Answering(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        what = self.path.rpartition("/")[2]
        self.server.asked[what] += 1
        said = {
            "activate-node": ActivateNodeResponse(node_id=5),
            "pull-messages": PullMessagesResponse(),
            "send-node-heartbeat": SendNodeHeartbeatResponse(success=True),
        }.get(what)
        body = said.SerializeToString() if said is not None else b""
        self.send_response(500 if what == self.server.fails else 200)
        self.send_header("Content-Type", "application/protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def connect(tmp_path):
    """Start a SuperNode, as a site does, at a coordinator that fails in one kind of request."""
    servers, nodes = [], []

    def start(fails):
        servers.append(Coordinator(fails))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        address = f"127.0.0.1:{servers[-1].server_port}"
        given = [
            "--insecure",
            "--superlink",
            address,
            "--isolation",
            "process",
            "--port",
            _free_port(),
        ]
        words = [sys.executable, "-m", "client.site.supernode", *given]
        home = {"PATH": "/usr/bin:/bin", "FLWR_HOME": str(tmp_path), "FLWR_TELEMETRY_ENABLED": "0"}
        nodes.append(subprocess.Popen(words, env=home, stderr=subprocess.PIPE))
        return servers[-1], nodes[-1]

    yield start
    for node in nodes:
        node.kill()
        node.communicate()
    for server in servers:
        server.shutdown()
        server.server_close()


def test_one_that_has_lost_its_connection_ends_so_that_it_is_started_again(connect):
    coordinator, node = connect(fails="pull-messages")
    _, said = node.communicate(timeout=60)
    assert node.returncode is not None
    assert coordinator.asked["pull-messages"] >= 1, said.decode()


def test_a_heartbeat_that_failed_is_followed_by_others(connect):
    coordinator, node = connect(fails="send-node-heartbeat")
    deadline = time.monotonic() + 60
    while coordinator.asked["send-node-heartbeat"] < 3:
        assert node.poll() is None, node.stderr.read().decode()
        assert time.monotonic() < deadline, coordinator.asked
        time.sleep(0.1)


@pytest.fixture
def ended(monkeypatch):
    """The number of times that the process would have ended."""
    times = []
    monkeypatch.setattr(supernode, "_end", lambda: times.append(1))
    return times


@pytest.mark.parametrize("error", [httpx.ReadTimeout("slow"), httpx.HTTPError("500")])
def test_an_error_is_a_beat_that_was_not_heard(error, ended):
    def beat():
        raise error

    assert SteadyHeartbeat(beat).heartbeat_fn() is False
    assert not ended


def test_a_node_that_the_coordinator_does_not_know_starts_anew(ended):
    def beat():
        raise RuntimeError("not known")

    SteadyHeartbeat(beat).heartbeat_fn()
    assert ended


def test_a_beat_that_is_heard_is_heard(ended):
    assert SteadyHeartbeat(lambda: True).heartbeat_fn() is True
    assert not ended


@pytest.mark.parametrize("error", [None, OSError("gone")])
def test_the_end_of_a_connection_is_the_end_of_the_process(error, ended):
    def connect(**given):
        assert given == {"to": "hub"}
        if error:
            raise error

    if error:
        with pytest.raises(OSError, match="gone"):
            ending(connect)(to="hub")
    else:
        ending(connect)(to="hub")
    assert ended
