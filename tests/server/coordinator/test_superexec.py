"""A ServerApp gets its token in memory; nothing else is started; a busy SuperLink ends nothing."""

import sys
import time
from pathlib import Path

import httpx
import pytest
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.superexec.executor.types import ExecutionSpec, LaunchResultStatus

from server.coordinator import superexec

TOKEN = "ab" * 32
CHILD = """#!{python}
import sys
from pathlib import Path
words = sys.argv[1:]
token = Path(words[words.index("--token-file") + 1]).read_text()
done = Path({done!r})
done.with_suffix(".part").write_text("\\n".join([token, *words]))
done.with_suffix(".part").rename(done)
"""


def spec(task=TaskType.SERVER_APP, *, insecure=False):
    return ExecutionSpec(
        task_type=task,
        runtime_api_address="127.0.0.1:1",
        token=TOKEN,
        insecure=insecure,
        root_certificates_path="ca.crt",
        runtime_dependency_install=True,
        parent_pid=7,
        suppress_output=True,
        task_id=1,
    )


@pytest.fixture
def app(tmp_path, monkeypatch):
    """A program in place of flwr-serverapp; the file that it leaves behind."""
    done, program = tmp_path / "done", tmp_path / "flwr-serverapp"
    program.write_text(CHILD.format(python=sys.executable, done=str(done)))
    program.chmod(0o700)
    monkeypatch.setattr(superexec, "BIN", tmp_path)
    return done


def test_the_token_is_read_from_a_file_and_is_no_argument(app):
    assert superexec.Executor().launch(spec()).status == LaunchResultStatus.ACCEPTED
    deadline = time.monotonic() + 60
    while not app.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    token, *words = app.read_text().splitlines()
    assert token == TOKEN
    assert TOKEN not in words
    said = dict(zip(words[::2], words[1::2], strict=True))
    assert said.pop("--token-file").startswith("/proc/self/fd/")
    assert said == {
        "--runtime-api-address": "127.0.0.1:1",
        "--root-certificates": "ca.crt",
        "--parent-pid": "7",
    }


def test_no_descriptor_of_the_token_is_left_open(app):
    before = len(list(Path("/proc/self/fd").iterdir()))
    superexec.Executor().launch(spec())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("task", [one for one in TaskType if one != TaskType.SERVER_APP])
def test_nothing_but_a_serverapp_is_started(app, task):
    assert superexec.Executor().launch(spec(task)).status == LaunchResultStatus.FAILED


def test_nothing_is_started_without_tls(app):
    assert superexec.Executor().launch(spec(insecure=True)).status == LaunchResultStatus.FAILED


@pytest.fixture
def asked_of(monkeypatch):
    """Ask a SuperLink that answers with this status for a task."""

    def ask(status):
        answer = httpx.Response(status, request=httpx.Request("POST", "https://hub"))
        monkeypatch.setattr(RuntimeHttpClient, "AcquireTask", lambda *_: answer.raise_for_status())
        client = superexec.SteadyClient.__new__(superexec.SteadyClient)
        return client.AcquireTask(AcquireTaskRequest())

    return ask


@pytest.mark.parametrize("status", [500, 503])
def test_a_superlink_that_answers_with_an_error_has_no_task_just_now(asked_of, status):
    found = asked_of(status)
    assert not found.HasField("task")
    assert not found.token


def test_a_superlink_that_refuses_is_not_asked_for_ever(asked_of):
    with pytest.raises(httpx.HTTPStatusError):
        asked_of(401)
