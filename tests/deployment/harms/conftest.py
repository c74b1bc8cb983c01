"""A federation to which harms are done: each is refused, undone, and costs nothing."""

import contextlib
import re
import shutil
import sqlite3
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from common.privacy.ledger import Head, read_ledger

SITES = 4
DISK_MIB = 48
SETTINGS = "settings:\n  seed: any\n  privacy.noise_multiplier: {least: 10}"
"""What the sites allow besides, so that one study can run often: other models, little spent."""


@dataclass
class Harmed:
    """A federation, what its ledgers held when last seen, and the table of harms."""

    federation: object
    disk: str
    kept: dict[str, Head] = field(default_factory=dict)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    runs: int = 0

    @property
    def older(self) -> Path:
        """A copy of the last site's ledger after the first run."""
        return self.federation.root / "older.sqlite"

    def site(self, number: int) -> tuple[str, Path]:
        """The name and folder of a site."""
        name = self.federation.names[number]
        return name, self.federation.site(name)

    def run(self, *words: str, code: int = 0) -> str:
        """Another run of one round over another model."""
        self.runs += 1
        given = (f"seed={self.runs}", "privacy.noise_multiplier=20", *words)
        return self.federation.run(f"run-{self.runs}", *given, rounds=1, code=code)

    def run_of_all(self) -> set[str]:
        """A run of every site, each ledger sound after it; returns who was charged for it."""
        before = {name: head.seq for name, head in self.kept.items()}
        names = self.federation.names
        assert f"round 1: {', '.join(names)}, " in self.run()
        heads = self.federation.root / f"run-{self.runs}" / "heads.json"
        for name in names:
            self.federation.tacit("budget", "verify", self.federation.site(name), "--heads", heads)
        return {name for name, head in self.look().items() if head.seq > before.get(name, 0)}

    def look(self) -> dict[str, Head]:
        """Hold every ledger to what it held before; what was spent is still there."""
        for name in self.federation.names:
            view = read_ledger(self.federation.site(name) / "ledger.sqlite")
            view.require(self.kept.get(name, Head(0, "")))
            self.kept[name] = view.head
        return dict(self.kept)

    def verified(self, root: Path) -> str:
        """What `tacit budget verify` says of a site, which is well again."""
        said = self.federation.tacit("budget", "verify", root)
        assert re.search(r"\bsound\b", said)
        assert "not sound" not in said
        self.look()
        return f"{self.kept[root.name].seq} ledger entries, sound"

    def start(self, root: Path, environment: dict[str, str] | None = None) -> None:
        """Start a site anew, perhaps in another environment."""
        self.federation.tacit("site", "stop", root)
        self.federation.tacit("site", "start", root, environment=environment)

    def start_well(self, root: Path) -> None:
        """Start a site anew, without harm, and wait until its SuperNode is connected."""
        self.start(root)
        self.federation.await_ready([root.name])

    def add(self, harm: str, where: str, said: str, code: int, intact: str) -> None:
        """A row of the table."""
        self.rows.append((harm, where, said, str(code), intact))

    @staticmethod
    def found(check: str, what: str) -> str:
        """What `tacit site check` found wrong about one thing, its lines joined."""
        lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in check.splitlines()]
        said, taken = [], False
        for cells in (cells for cells in lines if len(cells) == 3):
            taken = cells[0] == what if cells[0] else taken
            if taken:
                assert cells[1] in ("wrong", ""), check
                said.append(cells[2])
        return " ".join(said)

    @staticmethod
    def line_of(said: str, pattern: str) -> str:
        """The one line that says so; a wrapped one is joined first."""
        match = re.search(pattern, " ".join(said.split()))
        assert match, said
        return match[0]

    @staticmethod
    def last_reason(root: Path) -> str:
        return (root / "site.log").read_text().splitlines()[-1]

    @staticmethod
    def wait_for(log: Path, pattern: str, since: int = 0, seconds: float = 180) -> str:
        """The first line of a log, after so many bytes, that a pattern is found in."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            lines = (
                log.read_bytes()[since:].decode(errors="replace").splitlines()
                if log.exists()
                else []
            )
            for line in lines:
                if re.search(pattern, line):
                    return line
            time.sleep(0.5)
        pytest.fail(f"{log} never said {pattern}:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def harmed(lay_federation):
    """Four sites, the third on a small disk of its own, after a first run of all.

    At the end every site takes part again, and `pytest -s` shows the table of harms.
    """
    federation = lay_federation(SITES)
    for name in federation.names:
        policy = federation.site(name) / "policy.yaml"
        policy.write_text(policy.read_text().replace("settings:", SETTINGS, 1))
    small = federation.site(federation.names[2])
    made = Harmed(federation, on_small_disk(small))
    with contextlib.ExitStack() as undone:
        if not made.disk:
            undone.callback(subprocess.run, ["umount", "--lazy", small], check=True)
        undone.callback(federation.stop)
        federation.start()
        assert made.run_of_all() == set(federation.names)
        with contextlib.closing(sqlite3.connect(made.site(3)[1] / "ledger.sqlite")) as now:
            now.execute("VACUUM INTO ?", (str(made.older),))
        yield made
        shown(made.rows)


def on_small_disk(root: Path) -> str:
    """Move a folder to a disk of its own in memory; why that cannot be, or nothing."""
    aside = root.with_name(f"{root.name}-aside")
    root.rename(aside)
    root.mkdir(mode=0o700)
    options = f"size={DISK_MIB}m,mode=700"
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(root)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    shutil.copytree(aside, root, dirs_exist_ok=True)
    shutil.rmtree(aside)
    return "" if done.returncode == 0 else f"no disk can be mounted here: {done.stderr.strip()}"


def shown(rows: list[tuple[str, ...]]) -> None:
    table = Table("harm", "refused by", "said", "exit code", "afterwards", title="Harms")
    for row in rows:
        table.add_row(*row)
    Console(width=200).print(table)
