"""Sites with ledgers of a known history, without any training."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from client.budget.places import Place, one_place
from client.folder import SiteFolder
from common.config import SitePolicy
from common.keys import new_identity, read_identity, write_identity, write_roster
from common.privacy.events import (
    DiscreteGaussianShare,
    Event,
    ExactThroughSecureSum,
    PoissonSampledGaussian,
)
from common.privacy.ledger import Ledger, Opening
from common.secagg.channel import Identity
from common.settings import to_yaml

NAMES = ("hill", "lake", "mill")
STEPS = PoissonSampledGaussian(0.25, 2.0, 10, "person")
SHARES = DiscreteGaussianShare(0.25, 1.5, 1, "person", 4, 5, 1024, 96)
COUNTS = ExactThroughSecureSum("evaluation counts", 3)


@dataclass
class Federation:
    """Three sites' folders side by side, as a run leaves them."""

    root: Path
    now: datetime = field(default=datetime(2026, 3, 1, 9, 0, tzinfo=UTC))

    def folder(self, name: str = "hill") -> Path:
        return self.root / "run" / "federation" / "sites" / name

    def place(self, name: str = "hill") -> Place:
        return one_place(self.folder(name))

    def site(self, name: str = "hill") -> SiteFolder:
        return self.place(name).folder

    def identity(self, name: str = "hill") -> Identity:
        return read_identity(self.folder(name) / "identity.key", name)

    def clock(self) -> datetime:
        self.now += timedelta(hours=6)
        return self.now

    def ledger(self, name: str = "hill") -> Ledger:
        return Ledger.open(self.folder(name) / "ledger.sqlite", site=name, clock=self.clock)

    def spend(
        self,
        study: str = "moods",
        event: Event = STEPS,
        rounds: int = 3,
        name: str = "hill",
        what: str = "training",
        delta: float = 1e-3,
        cap: float = 5.0,
    ) -> None:
        """Open a study and charge rounds of it, each committed in full."""
        with self.ledger(name) as ledger:
            ledger.open_study(Opening(study, "person", delta, cap, 8.0, 1e-3))
            first = len(ledger.entries())
            for number in range(first, first + rounds):
                norm = 0.5 if what == "training" else 0.0
                made = ledger.reserve(study, event, round=number, what=what, max_grad_norm=norm)
                ledger.commit(made)

    def change_policy(self, name: str = "hill", **changes: object) -> None:
        (self.folder(name) / "policy.yaml").write_text(to_yaml(policy(name, **changes)))


def policy(name: str, **changes: object) -> SitePolicy:
    settings = {"declared_persons": 40, "declared_records": 200, "max_epsilon": 8.0} | changes
    return SitePolicy(site=name, **settings)


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    made = Federation(tmp_path)
    identities = {name: new_identity(name) for name in NAMES}
    keys = {name: identity.public_key for name, identity in identities.items()}
    for name in NAMES:
        made.folder(name).mkdir(parents=True)
        write_identity(made.folder(name) / "identity.key", identities[name])
        write_roster(made.folder(name) / "roster.json", keys)
        made.change_policy(name)
    write_roster(made.folder().parent.parent / "roster.json", keys)
    return made


@pytest.fixture
def spent(federation: Federation) -> Federation:
    """Two studies at hill, one with noise at the site and one with shares, and exact counts."""
    federation.spend()
    federation.spend("moods", COUNTS, 2, what="evaluation counts")
    federation.spend("calls", SHARES, 4)
    return federation


@pytest.fixture
def tacit(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run `tacit budget …` in this process: exit code, output, what was said."""
    import sys

    import tacit

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["tacit", "budget", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            tacit.main()
        out, said = capsys.readouterr()
        return int(ended.value.code or 0), out, " ".join(said.split())

    return run


@pytest.fixture
def fits() -> Callable[[object, str], None]:
    """Hold a document to a committed schema."""
    import json

    from jsonschema import Draft202012Validator

    schemas = Path(__file__).resolve().parents[3] / "docs" / "schemas"

    def check(document: object, name: str) -> None:
        schema = json.loads((schemas / f"{name}.json").read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate(document)

    return check
