"""A federation of real processes on this machine: coordinator, reverse proxy, sites."""

import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from client.site.health import ask_status
from client.site.processes import ports_of
from common.cards import read_coordinator_card

TACIT = Path(sys.executable).parent / "tacit"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "COLUMNS": "200", "OMP_NUM_THREADS": "1", "HOME": "/tmp"}
FAKETIME = "usr/lib/*/faketime/libfaketimeMT.so.1"

PROXY = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {configuration};
}}
"""


def tacit(*words: object, code: int = 0, environment: Mapping[str, str] | None = None) -> str:
    """Type a command; its output, or a failed test with what it said."""
    done = subprocess.run(
        [str(TACIT), *(str(word) for word in words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**ENVIRONMENT, **(environment or {})},
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


def find_nginx() -> str | None:
    """Where nginx is; None where it is not and may not be installed."""
    search = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return installed("nginx", lambda: shutil.which("nginx", path=search))


def find_faketime() -> str | None:
    """The library that moves a process' clock; None where it is not and may not be installed."""
    return installed("libfaketime", lambda: next(map(str, Path("/").glob(FAKETIME)), None))


def installed(package: str, find: Callable[[], str | None]) -> str | None:
    """What is found, installed first where TACIT_INSTALL is set and this is root's machine."""
    found = find()
    may_install = os.environ.get("TACIT_INSTALL") and os.geteuid() == 0
    if found or not may_install or not shutil.which("apt-get"):
        return found
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]  # others may install just now
    for words in (["update"], ["install", "-y", package]):
        subprocess.run([*apt, *words], check=False, capture_output=True, timeout=300)
    return find()


class Federation:
    """A coordinator and its sites, each in a folder of its own; nginx in front where it is there.

    Args:
        root: an empty folder.
        sites: how many.
        nginx: the program; None has the sites connect to the SuperLink itself.
    """

    tacit = staticmethod(tacit)
    find_faketime = staticmethod(find_faketime)

    def __init__(self, root: Path, sites: int, nginx: str | None) -> None:
        self.root, self.hub, self._nginx = root, root / "hub", nginx
        self._proxy: subprocess.Popen[bytes] | None = None
        tacit("corpus", root / "data", "--sites", sites, "--persons-per-site", 10)
        self.names = sorted(path.name for path in (root / "data" / "sites").iterdir())
        self.inner, outer = free_ports(2)
        self.address = f"127.0.0.1:{outer if nginx else self.inner}"
        given = ("--name", "hub", "--address", self.address, "--port", self.inner)
        tacit("coordinator", "init", self.hub, *given)
        for name in self.names:
            self.add_site(name)
        tacit("coordinator", "enrol", self.hub, *(self.site(n) / "card.json" for n in self.names))
        tacit("coordinator", "bundle", self.hub)
        for name in self.names:
            self._trust(name)

    @property
    def has_proxy(self) -> bool:
        """Whether nginx stands between the sites and the SuperLink."""
        return self._nginx is not None

    @property
    def proxy_folder(self) -> Path:
        """nginx's own folder: access.log, error.log."""
        return self.root / "nginx"

    @property
    def proxy_pid(self) -> int:
        """nginx's process number."""
        assert self._proxy is not None
        return self._proxy.pid

    def site(self, name: str) -> Path:
        """A site's folder."""
        return self.root / name

    def add_site(self, name: str) -> None:
        manifest = self.root / "data" / "sites" / name / "manifest.csv"
        given = ["--name", name, "--persons", 10, "--manifest", manifest, "--study", "demo"]
        given += ["--purpose", "research", "--ethics", "REC 12/2026"]
        given += ["--ethics-until", "2099-12-31", "--first-port", pair_of_ports()]
        tacit("site", "init", self.site(name), *given)
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
        if self._nginx:
            self._start_proxy(self._nginx)
        for name in self.names:
            tacit("site", "start", self.site(name))
        self.await_ready(self.names)

    def await_ready(self, names: Iterable[str]) -> None:
        """Wait until each of these sites' runners hears from its SuperNode."""
        deadline = time.monotonic() + 240
        waiting = set(names)
        while waiting and time.monotonic() < deadline:
            time.sleep(1)
            waiting = {name for name in waiting if not self._is_ready(name)}
        assert not waiting, f"not ready: {waiting}"

    def _start_proxy(self, nginx: str) -> None:
        """Run what `tacit coordinator init` wrote, included as it says."""
        folder = self.proxy_folder
        folder.mkdir()
        user = f"user {pwd.getpwuid(os.getuid()).pw_name};" if os.geteuid() == 0 else ""
        file = folder / "nginx.conf"
        file.write_text(
            PROXY.format(folder=folder, user=user, configuration=self.hub / "nginx.conf")
        )
        self._proxy = subprocess.Popen([nginx, "-p", str(folder), "-c", str(file)])
        host, _, port = self.address.rpartition(":")
        deadline = time.monotonic() + 20
        while self._proxy.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection((host, int(port)), 1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        pytest.fail(f"nginx did not start: {(folder / 'error.log').read_text()}")

    def reload_proxy(self) -> None:
        """Have nginx read its certificate anew; calls that run are finished by the old one."""
        os.kill(self.proxy_pid, signal.SIGHUP)

    def _is_ready(self, name: str) -> bool:
        found = ask_status(ports_of(self.site(name)).health)
        return found is not None and found.last_contact > 0

    def tls(self) -> ssl.SSLContext:
        """How a site checks who the coordinator is."""
        return ssl.create_default_context(cafile=self.hub / "ca.crt")

    def run(self, out: str, *settings: str, rounds: int = 3, code: int = 0) -> str:
        """Run the demo study."""
        given = (f"training.num_server_rounds={rounds}",)
        suite = "secure_aggregation.suite=mlkem768_x25519"
        words = (self.hub, "demo", *given, suite, *settings, "--out", self.root / out)
        return tacit("coordinator", "run", *words, code=code)

    def stop(self) -> None:
        """End every process."""
        for name in self.names:
            if self.site(name).exists():
                tacit("site", "stop", self.site(name))
        tacit("coordinator", "stop", self.hub)
        if self._proxy is not None:
            self._proxy.terminate()
            self._proxy.wait(20)


@pytest.fixture(scope="module")
def lay_federation(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[int], Federation]]:
    """Lay out a federation of so many sites; whatever of it runs at the end is stopped."""
    made: list[Federation] = []

    def lay(sites: int) -> Federation:
        root = tmp_path_factory.mktemp("deployment")
        made.append(Federation(root, sites, find_nginx()))
        return made[-1]

    yield lay
    for federation in made:
        federation.stop()
        shutil.rmtree(federation.root, ignore_errors=True)
