"""The four generic names are ours, Flower's configuration fits, and its internals are in place."""

import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import tomllib
from pathlib import Path

import pytest

from common.config import Study
from common.rules import flat_keys

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("server", "client", "common", "simulations")
MOVED = (
    "Flower's internals moved: simulations/federation.py, client/runner.py and "
    "client/site/supernode.py have to follow (see the pin in pyproject)"
)


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("name", [*NAMES, "tacit"])
def test_a_generic_name_resolves_inside_this_repository(name):
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    assert Path(found.origin).resolve().is_relative_to(ROOT)


def test_no_other_distribution_owns_one_of_the_names():
    owners = importlib.metadata.packages_distributions()
    for name in (*NAMES, "tacit"):
        assert set(owners.get(name, ["tacit"])) == {"tacit"}, name


def flattened(table, prefix=""):
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_flower_may_override_every_key_of_a_study_and_the_paths_of_a_run():
    given = dict(flattened(pyproject()["tool"]["flwr"]["app"]["config"]))
    own = {key.replace("_", "-") for key in flat_keys(Study)}
    assert set(given) == own | {"study", "federation", "run-dir", "resume", "wait-s"}
    assert {key for key, value in given.items() if value != ""} == {"study", "resume"}


def test_the_components_are_the_apps():
    components = pyproject()["tool"]["flwr"]["app"]["components"]
    assert components == {"serverapp": "server.app:app", "clientapp": "client.app:app"}
    for reference in components.values():
        module, _, name = reference.partition(":")
        assert hasattr(importlib.import_module(module), name)


def test_the_bundle_holds_code_and_studies_only():
    app = pyproject()["tool"]["flwr"]["app"]
    assert all(pattern.endswith((".py", ".yaml")) for pattern in app["fab-include"])
    assert not any(pattern.startswith(("tests", "simulations")) for pattern in app["fab-include"])


def test_flower_is_pinned_to_the_version_that_was_measured():
    pins = [d for d in pyproject()["project"]["dependencies"] if d.startswith("flwr")]
    assert pins == ["flwr[simulation]>=1.41,<1.42"]
    assert importlib.metadata.version("flwr").startswith("1.41.")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("flwr.common.constant", "ErrorCode"),
        ("flwr.supercore.inflatable.inflatable_object", "get_all_nested_objects"),
        ("flwr.supercore.inflatable.inflatable_utils", "inflate_object_from_contents"),
        ("flwr.supercore.run", "Run"),
        ("flwr.supercore.task_identity", "TaskIdentity"),
        ("flwr.supercore.heartbeat", "HEARTBEAT_DEFAULT_INTERVAL"),
        ("flwr.supernode.fleet_http_connection", "HEARTBEAT_DEFAULT_INTERVAL"),
        ("flwr.supercore.corestate.in_memory_corestate", "HEARTBEAT_DEFAULT_INTERVAL"),
        ("flwr.supercore.inflatable.inflatable_object", "iterate_object_tree"),
        ("flwr.supernode.start_client_internal", "_push_messages"),
        ("flwr.supernode.nodestate.in_memory_nodestate", "CLIENT_APP_CRASHED_ERROR"),
        ("flwr.supernode.nodestate.in_memory_nodestate", "InMemoryNodeState"),
        ("flwr.supernode.fleet_http_connection", "HeartbeatSender"),
        ("flwr.supernode.cli.flower_supernode", "start_client_internal"),
        ("flwr.supernode.cli.flower_supernode", "flower_supernode"),
        ("flwr.supercore.cli", "flower_superexec"),
        ("flwr.supercore.superexec.run_superexec", "RuntimeHttpClient"),
        ("flwr.supercore.sql_mixin", "SQLITE_PRAGMAS"),
        ("flwr.superlink.cli", "flower_superlink"),
        ("flwr.supercore.superexec.executor.factory", "SubprocessExecutor"),
        ("flwr.supercore.superexec.executor.subprocess_executor", "SubprocessExecutor"),
        ("flwr.supercore.heartbeat", "HeartbeatSender"),
        ("flwr.supercore.interceptors", "RuntimeTokenHttpInterceptor"),
        ("flwr.supercore.interceptors", "RuntimeVersionHttpInterceptor"),
        ("flwr.supercore.interceptors", "SuperExecAuthHttpInterceptor"),
        ("flwr.supercore.retry", "make_simple_http_retry_invoker"),
        ("flwr.supercore.runtime", "RuntimeHttpClient"),
        ("flwr.supernode.runtime.run_clientapp", "pull_task_input"),
        ("flwr.supernode.runtime.run_clientapp", "push_message"),
        ("flwr.supernode.runtime.run_clientapp", "push_task_output"),
    ],
)
def test_flowers_internals_are_where_they_are_needed(module, name):
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"{MOVED}: {module}.{name}: {error}")
    assert found is not None


def test_flowers_loop_asks_its_clock_for_pauses_alone():
    """What client/site/supernode.py puts in its place has nothing else."""
    source = inspect.getsource(importlib.import_module("flwr.supernode.start_client_internal"))
    assert set(re.findall(r"\btime\.(\w+)", source)) == {"sleep"}, MOVED
    assert "time.sleep(3)" in source, MOVED


def test_flowers_internals_still_have_the_attributes_that_are_used():
    from flwr.app import Message, RecordDict
    from flwr.common.constant import ErrorCode
    from flwr.serverapp import Grid
    from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
    from flwr.supercore.run import Run
    from flwr.supercore.task_identity import TaskIdentity

    assert hasattr(ErrorCode, "CLIENT_APP_RAISED_EXCEPTION"), MOVED
    assert callable(getattr(Run, "create_empty", None)), MOVED
    assert {"task_id", "run_id", "node_id"} <= set(vars(type(TaskIdentity))), MOVED
    parameters = list(inspect.signature(inflate_object_from_contents).parameters)
    assert parameters[:2] == ["object_id", "object_contents"], MOVED
    abstract = {"set_run", "run", "create_message", "get_node_ids", "push_messages"}
    abstract |= {"pull_messages", "send_and_receive"}
    assert Grid.__abstractmethods__ <= abstract, f"{MOVED}: Grid asks for more"
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    message = Message(RecordDict(), 1, "query.hello")
    assert "_message_id" in message.metadata.__dict__, MOVED
    assert isinstance(message.object_id, str), MOVED
