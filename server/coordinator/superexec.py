"""Flower's superexec, which tells a ServerApp its token unseen.

Flower puts the token among the process arguments, which every user of the machine can read; who
has it can act as the ServerApp. Here it goes through a file that exists in memory only. Nothing
but ServerApps is started. An internal module is reached from here; tests/test_layout.py fails when
it moves.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from flwr.supercore.cli import flower_superexec
from flwr.supercore.constant import TaskType
from flwr.supercore.superexec.executor import factory
from flwr.supercore.superexec.executor.subprocess_executor import SubprocessExecutor
from flwr.supercore.superexec.executor.types import ExecutionSpec, LaunchResult

from common.processes import BIN, plain_logs

_NAME = "SubprocessExecutor"


def main() -> None:
    """Become the superexec; the arguments are Flower's own."""
    if not hasattr(factory, _NAME):
        raise ImportError(f"{factory.__name__} has no {_NAME} any more")
    setattr(factory, _NAME, Executor)
    plain_logs()
    flower_superexec()


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
