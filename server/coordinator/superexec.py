"""Flower's superexec, which tells a ServerApp its token unseen, and outlives a busy SuperLink.

Flower puts the token among the process arguments, which every user of the machine can read; who
has it can act as the ServerApp. Here it goes through a file that exists in memory only. Nothing
but ServerApps is started.

Flower's ends where the SuperLink answers with an error, and the run that it had started with it.
Here it asks again. Internal modules are reached from here; tests/test_layout.py fails when they
move.
"""

import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from flwr.proto.runtime_pb2 import AcquireTaskRequest, AcquireTaskResponse
from flwr.supercore.cli import flower_superexec
from flwr.supercore.constant import TaskType
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.superexec import run_superexec
from flwr.supercore.superexec.executor import factory
from flwr.supercore.superexec.executor.subprocess_executor import SubprocessExecutor
from flwr.supercore.superexec.executor.types import ExecutionSpec, LaunchResult

from common.processes import BIN, plain_logs

_NAME, _CLIENT = "SubprocessExecutor", "RuntimeHttpClient"
_LOG = logging.getLogger("flwr")


def main() -> None:
    """Become the superexec; the arguments are Flower's own."""
    for module, name, ours in ((factory, _NAME, Executor), (run_superexec, _CLIENT, SteadyClient)):
        if not hasattr(module, name):
            raise ImportError(f"{module.__name__} has no {name} any more")
        setattr(module, name, ours)
    plain_logs()
    flower_superexec()


class SteadyClient(RuntimeHttpClient):
    """Asks the SuperLink for tasks; an error of the SuperLink's own is no task."""

    def AcquireTask(self, request: AcquireTaskRequest) -> AcquireTaskResponse:  # noqa: N802
        """The oldest task that waits, if there is one and the SuperLink can say so."""
        try:
            return super().AcquireTask(request)
        except httpx.HTTPStatusError as error:
            if not error.response.is_server_error:
                raise
            _LOG.warning("The SuperLink has no answer just now: %s", error.response.status_code)
            return AcquireTaskResponse()


class Executor(SubprocessExecutor):
    """Starts a ServerApp as a process of this machine."""

    def launch(self, spec: ExecutionSpec) -> LaunchResult:
        """Start it; refuses every other kind of task, and a connection without TLS."""
        if spec.task_type != TaskType.SERVER_APP or spec.insecure:
            return LaunchResult.failed("only ServerApps are started here, over TLS")
        with _in_memory(spec.token) as (descriptor, path):
            arguments = ["--runtime-api-address", spec.runtime_api_address, "--token-file", path]
            if spec.root_certificates_path is not None:
                arguments += ["--root-certificates", spec.root_certificates_path]
            if spec.parent_pid is not None:
                arguments += ["--parent-pid", str(spec.parent_pid)]
            subprocess.Popen(
                [str(BIN / "flwr-serverapp"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[descriptor],
            )
        return LaunchResult.accepted()


@contextmanager
def _in_memory(text: str) -> Iterator[tuple[int, str]]:
    """A file without a name that holds a text: its descriptor, and its path in a child process."""
    descriptor = os.memfd_create("token")
    try:
        os.write(descriptor, text.encode())
        yield descriptor, f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
