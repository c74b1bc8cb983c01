"""The doors that Flower leaves open are shut: what a stranger can and cannot do from outside.

Outside is whatever reaches the reverse proxy; nothing else of the coordinator is to be reached.
"""

import hashlib
import http.client
import ipaddress
import re
import socket
import ssl
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListNodesResponse,
    ListRunsRequest,
    ListRunsResponse,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
)
from flwr.proto.fab_pb2 import Fab, GetFabRequest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
    RegisterNodeFleetRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import PullObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushAppMessagesRequest,
)

from client.site.processes import ports_of

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PUBLIC = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def running(lay_federation):
    """A coordinator behind nginx, and one site that is connected to it."""
    federation = lay_federation(1)
    if not federation.has_proxy:
        pytest.skip("nginx is not installed here: apt-get install nginx")
    federation.start()
    return federation


def ask(base: str, verify, path: str, message, headers: dict[str, str] | None = None):
    """One call of Flower's HTTP API, as its own clients make it."""
    media = "application/protobuf"
    sent = {"content-type": media, "accept": media, **(headers or {})}
    content = message.SerializeToString()
    return httpx.post(base + path, content=content, headers=sent, verify=verify, timeout=30)


@pytest.fixture(scope="module")
def outside(running):
    """A peer that reaches the proxy and knows everything public."""
    return lambda path, message, headers=None: ask(
        f"https://{running.address}", running.tls(), path, message, headers
    )


@pytest.fixture(scope="module")
def inside(running):
    """Somebody on the coordinator's own machine."""
    return lambda path, message, headers=None: ask(
        f"https://127.0.0.1:{running.inner}", running.tls(), path, message, headers
    )


def signed_by(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """What a SuperNode adds to each call: its public key, and the time that it signed."""
    now = datetime.now(UTC).isoformat()
    signature = key.sign(now.encode(), ec.ECDSA(hashes.SHA256()))
    return {
        "flwr-public-key": b64encode(key.public_key().public_bytes(*PUBLIC)).decode(),
        "flwr-timestamp": now,
        "flwr-signature": b64encode(signature).decode(),
    }


@pytest.fixture(scope="module")
def stranger() -> ec.EllipticCurvePrivateKey:
    """A good key that nobody registered."""
    return ec.generate_private_key(ec.SECP384R1())


@pytest.fixture(scope="module")
def node(running, inside) -> Node:
    """The enrolled site's node, which is no secret."""
    answer = ListNodesResponse.FromString(
        inside("/v1/control/list-nodes", ListNodesRequest()).content
    )
    assert len(answer.nodes_info) == 1
    return Node(node_id=answer.nodes_info[0].node_id)


def bundle_of(running) -> Fab:
    """The approved bundle: what an attacker would most like to start."""
    content = next(running.hub.glob("*.fab")).read_bytes()
    return Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content)


def test_the_control_api_is_open_to_whoever_reaches_it_and_so_must_be_shut_off(inside) -> None:
    """Without this, the tests below would hold for a SuperLink that answers nobody."""
    assert inside("/v1/control/list-runs", ListRunsRequest()).status_code == 200


def test_nobody_outside_can_start_a_run(running, outside, inside) -> None:
    tries = {
        "start-run": StartRunRequest(fab=bundle_of(running)),
        "stop-run": StopRunRequest(run_id=1),
        "list-runs": ListRunsRequest(),
        "list-nodes": ListNodesRequest(),
    }
    found = {name: outside(f"/v1/control/{name}", said).status_code for name, said in tries.items()}
    assert set(found.values()) == {404}
    runs = ListRunsResponse.FromString(inside("/v1/control/list-runs", ListRunsRequest()).content)
    assert len(runs.run_dict) == 0


def test_nobody_outside_can_register_a_node(outside, inside, stranger, node) -> None:
    public = stranger.public_key().public_bytes(*PUBLIC)
    register = RegisterNodeFleetRequest(public_key=public)
    activate = ActivateNodeRequest(public_key=public, heartbeat_interval=30)
    assert outside("/v1/control/register-node", RegisterNodeRequest(public_key=public)).is_error
    for headers in ({}, signed_by(stranger)):
        assert outside("/v1/fleet/register-node", register, headers).is_client_error
        assert outside("/v1/fleet/activate-node", activate, headers).is_client_error
    known = ListNodesResponse.FromString(
        inside("/v1/control/list-nodes", ListNodesRequest()).content
    )
    assert [info.node_id for info in known.nodes_info] == [node.node_id]


def test_nobody_can_take_a_task(running, outside, inside) -> None:
    acquire = AcquireTaskRequest(supported_task_types=["flwr-serverapp", "flwr-clientapp"])
    assert outside("/v1/runtime/acquire-task", acquire).status_code == 404
    assert outside("/v1/runtime/pull-task-input", PullTaskInputRequest()).status_code == 404
    assert inside("/v1/runtime/acquire-task", acquire).status_code == 401
    site = f"http://127.0.0.1:{ports_of(running.site(running.names[0])).runtime}"
    assert ask(site, True, "/v1/runtime/acquire-task", acquire).status_code == 401


def test_nobody_outside_can_read_or_send_a_message(running, outside, stranger, node) -> None:
    fleet = {
        "pull-messages": PullMessagesRequest(node=node),
        "push-messages": PushMessagesRequest(node=node),
        "pull-object": PullObjectRequest(node=node, run_id=1, object_id="0" * 64),
        "get-fab": GetFabRequest(node=node, hash_str=bundle_of(running).hash_str, run_id=1),
        "send-node-heartbeat": SendNodeHeartbeatRequest(node=node, heartbeat_interval=30),
    }
    for headers in ({}, signed_by(stranger)):
        for name, said in fleet.items():
            assert outside(f"/v1/fleet/{name}", said, headers).status_code == 401, name
    for name, said in {
        "pull-app-messages": PullAppMessagesRequest(),
        "push-app-messages": PushAppMessagesRequest(),
    }.items():
        assert outside(f"/v1/runtime/{name}", said).status_code == 404


def test_a_registered_key_opens_the_fleet_for_its_own_node_alone(running, outside, node) -> None:
    raw = (running.site(running.names[0]) / "supernode.key").read_bytes()
    key = serialization.load_ssh_private_key(raw, None)
    own = SendNodeHeartbeatRequest(node=node, heartbeat_interval=30)
    other = SendNodeHeartbeatRequest(node=Node(node_id=node.node_id + 1), heartbeat_interval=30)
    path = "/v1/fleet/send-node-heartbeat"
    assert outside(path, own, signed_by(key)).status_code == 200
    assert outside(path, other, signed_by(key)).status_code == 401
    late = {**signed_by(key), "flwr-timestamp": "2026-01-01T00:00:00+00:00"}
    assert outside(path, own, late).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/v1/fleet/../control/list-runs",
        "/v1/fleet/%2e%2e/control/list-runs",
        "/v1/fleet/..%2fcontrol/list-runs",
        "/v1/fleet/%252e%252e/control/list-runs",
        "/v1/fleet/..%5ccontrol%5clist-runs",
        "//v1/control/list-runs",
        "/v1//control/list-runs",
        "/v1/./control/list-runs",
        "/V1/control/list-runs",
        "/v1/control/list-runs?/v1/fleet/",
        "/v1/control/list-runs%00/../../fleet/",
        "/v1/control/list-runs/../../fleet/x",
        "/v1/fleet/x?/../../control/list-runs",
        "https://127.0.0.1/v1/control/list-runs",
    ],
)
def test_no_way_of_writing_a_path_leads_round_the_proxy(running, path) -> None:
    host, _, port = running.address.rpartition(":")
    line = http.client.HTTPSConnection(host, int(port), context=running.tls(), timeout=30)
    line.putrequest("POST", "/placeholder")
    line._buffer[0] = f"POST {path} HTTP/1.1".encode()
    for name, value in (("content-type", "application/protobuf"), ("content-length", "0")):
        line.putheader(name, value)
    line.endheaders()
    answer = line.getresponse()
    assert answer.status in (400, 401, 404, 422)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_the_fleet_is_posted_to_and_nothing_else(running, method) -> None:
    url = f"https://{running.address}/v1/fleet/pull-messages"
    assert httpx.request(method, url, verify=running.tls()).status_code == 403


def test_old_tls_and_no_tls_are_refused(running) -> None:
    host, _, port = running.address.rpartition(":")
    old = running.tls()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection((host, int(port)), 10) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname=host)
    assert httpx.get(f"http://{running.address}/v1/fleet/x").status_code == 400


def test_only_the_proxy_listens_beyond_the_loopback(running) -> None:
    found = listening(running.root, running.proxy_pid)
    outer, inner = int(running.address.rpartition(":")[2]), running.inner
    ports = ports_of(running.site(running.names[0]))
    assert {inner, outer, ports.runtime, ports.health} <= {port for _, port in found}
    assert {port for address, port in found if not address.is_loopback} == {outer}


def listening(root: Path, *also: int) -> set[tuple[Address, int]]:
    """Address and port of every listening socket of the processes that work in a folder."""
    mine = {pid for pid in processes() if str(root) in said_at_start(pid)} | set(also)
    sockets = {inode for pid in mine for inode in inodes(pid)}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == "0A" and cells[9] in sockets:
                address, _, port = cells[1].partition(":")
                found.add((readable(address), int(port, 16)))
    return found


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]


def said_at_start(pid: int) -> str:
    """A process' arguments and environment."""
    try:
        files = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    except OSError:
        return ""
    return b" ".join(files).decode(errors="replace")


def inodes(pid: int) -> set[str]:
    try:
        links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return set()
    return {match[1] for link in links if (match := re.fullmatch(r"socket:\[(\d+)\]", link))}


def readable(address: str) -> Address:
    """An address from the kernel's table: words in the machine's order."""
    words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
    found = ipaddress.ip_address(b"".join(words))
    return getattr(found, "ipv4_mapped", None) or found
