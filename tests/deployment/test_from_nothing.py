"""From nothing to a finished study over TLS: real processes, the commands of the documents."""

import contextlib
import re
import threading
from pathlib import Path

import pytest

from client.site.audit_log import AUDIT_LOG, check
from client.site.folder import PROCESSES
from client.site.health import is_serving
from client.site.processes import ports_of
from common.cards import read_site_card
from common.privacy.ledger import read_ledger

SITES = 4
ROUNDS = 3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def listed():
    """Every line of the process list since the module began, collected all the time."""
    lines, over = set(), threading.Event()

    def collect():
        while not over.wait(0.2):
            for path in Path("/proc").glob("[0-9]*/cmdline"):  # what `ps` reads; it is cheaper so
                with contextlib.suppress(OSError):
                    lines.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))

    thread = threading.Thread(target=collect)
    thread.start()
    yield lines
    over.set()
    thread.join()


@pytest.fixture(scope="module")
def running(lay_federation):
    """A federation whose processes run."""
    federation = lay_federation(SITES)
    federation.start()
    return federation


def test_a_study_runs_from_nothing_to_a_model_over_tls(listed, running) -> None:
    said = running.run("first", rounds=ROUNDS)
    assert f"round {ROUNDS}: {', '.join(running.names)}" in said
    left = {path.name for path in (running.root / "first").iterdir()}
    assert {"model.safetensors", "study.yaml", "rounds.csv", "rounds.svg"} <= left
    for name in running.names:
        root = running.site(name)
        assert read_ledger(root / "ledger.sqlite").head.seq > 0
        key = read_site_card(root / "card.json").identity_key
        assert check(root / AUDIT_LOG, key).number >= ROUNDS
        assert is_serving(ports_of(root).health)
        status = running.tacit("site", "status", root)
        assert re.search(rf"study, round\W+demo, {ROUNDS}\b", status)
        assert re.search(r"budget left, demo\W+ε \d\.\d\d of 8\.00", status)
        running.tacit("budget", "verify", root, "--heads", running.root / "first" / "heads.json")


def test_the_sites_did_their_work_through_the_proxy(running) -> None:
    if not running.has_proxy:
        pytest.skip("nginx is not installed here: apt-get install nginx")
    lines = (running.proxy_folder / "access.log").read_text().splitlines()
    found = [re.search(r'"POST (/v1/fleet/[a-z-]+) HTTP/1.1" 200 ', line) for line in lines]
    paths = {match[1] for match in found if match}
    assert {"/v1/fleet/activate-node", "/v1/fleet/pull-messages"} <= paths
    assert {"/v1/fleet/push-messages", "/v1/fleet/push-object"} <= paths


def test_a_study_that_no_site_allows_ends_with_its_exit_code(running) -> None:
    said = running.run("refused", "privacy.target_epsilon=500", code=4)
    assert not (running.root / "refused" / "model.safetensors").exists()
    assert running.names[0] in said


def test_an_unapproved_bundle_is_answered_by_nobody(running) -> None:
    for name in running.names:
        (running.site(name) / "bundles.json").rename(running.site(name) / "kept.json")
    try:
        said = running.run("unapproved", code=4)
        assert "has not approved the bundle" in said
    finally:
        for name in running.names:
            (running.site(name) / "kept.json").rename(running.site(name) / "bundles.json")


SECRETS = {"identity.key", "supernode.key", "runtime.secret"}
HUB_SECRETS = {"identity.key", "authority.key", "server.key", "superexec.secret"}


def words_of(path) -> list[str]:
    """What of a file of keys would tell them: its first long lines."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    return [line for line in lines if len(line) > 30 and not line.startswith("-----")][:2]


def test_no_secret_stood_in_the_process_list_or_stands_in_any_other_file(listed, running) -> None:
    files = [path for path in running.root.rglob("*") if path.is_file() and not path.is_symlink()]
    keys = [path for path in files if path.suffix in (".key", ".secret")]
    assert {path.name for path in keys if path.parent == running.hub} == HUB_SECRETS
    for name in running.names:
        assert {path.name for path in keys if path.parent == running.site(name)} == SECRETS
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    secrets = [word.encode() for path in keys for word in words_of(path)]
    assert len(secrets) >= len(keys)
    listing = "\n".join(listed).encode()
    assert not [secret for secret in secrets if secret in listing]
    for path in set(files) - set(keys):
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret in content], path


def test_logs_are_plain_and_shut_and_a_token_travels_by_memory(listed, running) -> None:
    for path in (running.site(n) / f"{p}.log" for n in running.names for p in PROCESSES):
        assert path.stat().st_mode & 0o077 == 0
        assert "\033" not in path.read_text()
    ours = [line for line in listed if str(running.root) in line]
    started = [line for line in ours if "flwr-serverapp" in line]
    assert started
    assert all("--token-file /proc/self/fd/" in line for line in started)
    assert not [line for line in ours if "--token " in line]
