"""From nothing to a finished study over TLS: real processes, the commands of the documents."""

import re
import subprocess
import threading

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
            done = subprocess.run(
                ["ps", "-ewwo", "args"], capture_output=True, text=True, check=True
            )
            lines.update(done.stdout.splitlines())

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


def test_no_secret_stood_in_the_process_list_or_stands_in_a_log(listed, running) -> None:
    secrets = []
    for name in running.names:
        root = running.site(name)
        secrets += [(root / "identity.key").read_text().strip()]
        secrets += [(root / "runtime.secret").read_text().strip()]
    secrets += [(running.hub / "superexec.secret").read_text().strip()]
    logs = [path.read_text(errors="replace") for path in running.root.rglob("*.log")]
    assert logs
    for path in (running.site(n) / f"{p}.log" for n in running.names for p in PROCESSES):
        assert path.stat().st_mode & 0o077 == 0
        assert "\033" not in path.read_text()
    ours = [line for line in listed if str(running.root) in line]
    started = [line for line in ours if "flwr-serverapp" in line]
    assert started
    assert all("--token-file /proc/self/fd/" in line for line in started)
    assert not [line for line in ours if "--token " in line]
    for secret in secrets:
        assert not [line for line in listed if secret in line]
        assert not [text for text in logs if secret in text]
