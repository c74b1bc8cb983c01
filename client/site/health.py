"""The runner's window for orchestrators: gRPC's standard health service, and a status call.

It listens on the loopback only and says nothing that the site's own operator may not know.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from client.site.status import Status, from_json, to_json
from common.errors import EnvironmentFault

SERVICE = "tacit.Runner"
_STATUS = f"/{SERVICE}/Status"
_TIMEOUT_S = 3.0


def serve_health(port: int, read: Callable[[], Status]) -> grpc.Server:
    """Start the service on the loopback; stop it with its own stop().

    Args:
        port: to listen on.
        read: returns the status as it is now.

    Raises:
        EnvironmentFault: the port is taken.
    """
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    standard = health.HealthServicer()
    for service in ("", SERVICE):
        standard.set(service, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(standard, server)
    answer = grpc.unary_unary_rpc_method_handler(lambda _request, _context: to_json(read()))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"Status": answer}),)
    )
    try:
        server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError as error:
        raise EnvironmentFault(f"Port {port} is taken; choose another (--health-port).") from error
    server.start()
    return server


def ask_status(port: int) -> Status | None:
    """The status of the runner at a port of this machine; None when none answers."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            return from_json(channel.unary_unary(_STATUS)(b"", timeout=_TIMEOUT_S))
        except (grpc.RpcError, ValueError, TypeError):
            return None


def is_serving(port: int) -> bool:
    """Whether the standard health check of the runner at a port says SERVING."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=SERVICE), timeout=_TIMEOUT_S
            )
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
