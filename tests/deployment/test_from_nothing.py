"""From nothing to a finished study over TLS: real processes, the commands of the documents."""

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.site.audit_log import AUDIT_LOG, check
from client.site.health import ask_status, is_serving
from client.site.processes import ports_of
from common.cards import read_coordinator_card, read_site_card
from common.privacy.ledger import read_ledger

TACIT = Path(sys.executable).parent / "tacit"
SITES = 4
ROUNDS = 3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def tacit(*words: object, code: int = 0) -> str:
    """Type a command; its output, or a failed test with what it said."""
    done = subprocess.run(
        [str(TACIT), *(str(word) for word in words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", "OMP_NUM_THREADS": "1", "HOME": "/tmp"},
    )
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, none twice."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def pair_of_ports() -> int:
    """The first of two free ports in a row."""
    while True:
        first = free_ports(1)[0]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", first + 1))
            except (OSError, OverflowError):
                continue
        return first


class Federation:
    """A coordinator and its sites, each in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root, self.hub = root, root / "hub"
        tacit("corpus", root / "data", "--sites", SITES, "--persons-per-site", 10)
        self.names = sorted(path.name for path in (root / "data" / "sites").iterdir())
        port = free_ports(1)[0]
        address = f"127.0.0.1:{port}"
        tacit(
            "coordinator", "init", self.hub, "--name", "hub", "--address", address, "--port", port
        )
        for name in self.names:
            self._init(name)
        tacit("coordinator", "enrol", self.hub, *(self.site(n) / "card.json" for n in self.names))
        tacit("coordinator", "bundle", self.hub)
        for name in self.names:
            self._trust(name)

    def site(self, name: str) -> Path:
        """A site's folder."""
        return self.root / name

    def _init(self, name: str) -> None:
        manifest = self.root / "data" / "sites" / name / "manifest.csv"
        given = ["--name", name, "--persons", 10, "--manifest", manifest, "--study", "demo"]
        given += [
            "--purpose",
            "research",
            "--ethics",
            "REC 12/2026",
            "--ethics-until",
            "2099-12-31",
        ]
        tacit("site", "init", self.site(name), *given, "--first-port", pair_of_ports())
        policy = self.site(name) / "policy.yaml"
        text = re.sub(r"(?m)^min_persons: .*", "min_persons: 1", policy.read_text())
        policy.write_text(text)

    def _trust(self, name: str) -> None:
        card = read_coordinator_card(self.hub / "coordinator.json")
        given = (self.hub / "coordinator.json", "--fingerprint", card.roster_fingerprint)
        tacit("site", "trust", self.site(name), *given)
        tacit("site", "approve", self.site(name), *self.hub.glob("*.fab"), "--yes")

    def start(self) -> None:
        """Start every process and wait until each runner hears from its SuperNode."""
        tacit("coordinator", "start", self.hub)
        for name in self.names:
            tacit("site", "start", self.site(name))
        deadline = time.monotonic() + 240
        waiting = set(self.names)
        while waiting and time.monotonic() < deadline:
            time.sleep(1)
            waiting = {name for name in waiting if not self._is_ready(name)}
        assert not waiting, f"not ready: {waiting}"

    def _is_ready(self, name: str) -> bool:
        found = ask_status(ports_of(self.site(name)).health)
        return found is not None and found.last_contact > 0

    def run(self, out: str, *settings: str, code: int = 0) -> str:
        """Run the demo study."""
        given = (f"training.num_server_rounds={ROUNDS}",)
        suite = "secure_aggregation.suite=mlkem768_x25519"
        words = (self.hub, "demo", *given, suite, *settings, "--out", self.root / out)
        return tacit("coordinator", "run", *words, code=code)

    def stop(self) -> None:
        """End every process."""
        for name in self.names:
            if self.site(name).exists():
                tacit("site", "stop", self.site(name))
        tacit("coordinator", "stop", self.hub)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A federation whose processes run."""
    federation = Federation(tmp_path_factory.mktemp("deployment"))
    try:
        federation.start()
        yield federation
    finally:
        federation.stop()
        shutil.rmtree(federation.root, ignore_errors=True)


def test_a_study_runs_from_nothing_to_a_model_over_tls(running: Federation) -> None:
    said = running.run("first")
    assert f"round {ROUNDS}: {', '.join(running.names)}" in said
    assert (running.root / "first" / "model.safetensors").is_file()
    for name in running.names:
        root = running.site(name)
        assert read_ledger(root / "ledger.sqlite").head.seq > 0
        key = read_site_card(root / "card.json").identity_key
        assert check(root / AUDIT_LOG, key).number >= ROUNDS
        assert is_serving(ports_of(root).health)
        assert "answered" in tacit("site", "status", root)
        tacit("budget", "verify", root, "--heads", running.root / "first" / "heads.json")


def test_a_study_that_no_site_allows_ends_with_its_exit_code(running: Federation) -> None:
    said = running.run("refused", "privacy.target_epsilon=500", code=4)
    assert not (running.root / "refused" / "model.safetensors").exists()
    assert running.names[0] in said


def test_an_unapproved_bundle_is_answered_by_nobody(running: Federation) -> None:
    for name in running.names:
        (running.site(name) / "bundles.json").rename(running.site(name) / "kept.json")
    try:
        said = running.run("unapproved", code=4)
        assert "have not approved the bundle" in said
    finally:
        for name in running.names:
            (running.site(name) / "kept.json").rename(running.site(name) / "bundles.json")


def test_no_secret_stands_in_a_process_list_or_a_log(running: Federation) -> None:
    secrets = []
    for name in running.names:
        root = running.site(name)
        secrets += [(root / "identity.key").read_text().strip()]
        secrets += [(root / "runtime.secret").read_text().strip()]
    secrets += [(running.hub / "superexec.secret").read_text().strip()]
    listed = subprocess.run(["ps", "-ef"], capture_output=True, text=True, check=True).stdout
    logs = [path.read_text(errors="replace") for path in running.root.rglob("*.log")]
    assert logs
    for secret in secrets:
        assert secret not in listed
        assert not [text for text in logs if secret in text]
