"""What many tests share: a tiny corpus, a study over it, whole runs of it in this process."""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from hypothesis import settings

from client.app import app as client_app
from client.session import Session, Sessions, session
from common.budget import resolved
from common.config import SitePolicy, Study
from common.keys import read_roster
from common.secagg.roster import Context, Roster
from common.settings import config_hash, load_policy, load_study, to_yaml
from common.sums import parameters_of, policy_for
from server.exchange import GridExchange
from server.heads import Heads
from server.secure_sum import Sums
from simulations.federation import InProcessGrid
from simulations.sites import prepare_federation
from simulations.studies import RunFolder, simulate

settings.register_profile("tacit", deadline=None)
settings.load_profile("tacit")

ROOT = Path(__file__).resolve().parent.parent
SITES = ("harbour", "hill", "lake", "mill")
BLIND = "mill"
"""The site that has no features_b."""
CLASSES = ("serene", "joyful", "aching")
PERSONS, CLIPS, DIM_A, DIM_B = 6, 8, 6, 4

TINY_YAML = f"""\
name: tiny
classes: [{", ".join(CLASSES)}]
modalities:
  features_a: {{options: {{dim: {DIM_A}}}}}
  features_b: {{options: {{dim: {DIM_B}}}}}
device: cpu
model: {{fusion: late, hidden: 0}}
training: {{num_server_rounds: 2, local_epochs: 2, local_steps: 3, batch_size: 16}}
split: {{folds: 3, fold: 0}}
"""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With --dist loadgroup: tests of one deployment file share a federation, hence a worker.

    xdist's own groups are marks that pytest 9.2 no longer lets it write into a test's name.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling  # the library is there where the hook is called

    class ByFederation(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file.startswith("tests/deployment/") else nodeid

    return ByFederation(config, log)


@dataclass(frozen=True)
class Row:
    """One clip of the tiny corpus, as its manifest has it."""

    sample_id: str
    person_id: str
    label: str
    features_a: tuple[float, ...]
    features_b: tuple[float, ...]


@dataclass(frozen=True)
class TinyData:
    """A corpus on disk, and what was written into it."""

    root: Path
    rows: dict[str, tuple[Row, ...]]


@dataclass
class Tape:
    """Every message that crossed, in order; requests and replies in turn."""

    messages: list[Message] = field(default_factory=list)

    def __call__(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def requests(self) -> list[Message]:
        return self.messages[0::2]

    @property
    def replies(self) -> list[Message]:
        return self.messages[1::2]


@dataclass(frozen=True)
class Whole:
    """A finished run: its folder, its study, what crossed."""

    run: RunFolder
    study: Study
    tape: Tape

    @property
    def run_roster(self) -> Roster:
        return read_roster(self.run.federation / "roster.json")


@dataclass(frozen=True)
class Table:
    """A prepared federation, round which single sums can be played without a ServerApp."""

    root: Path
    study: Study
    sites: tuple[str, ...]
    config: dict[str, str]

    @property
    def roster(self) -> Roster:
        return read_roster(self.root / "roster.json")

    def folder(self, site: str) -> Path:
        return self.root / "sites" / site

    def site_of(self, context: Any) -> str:
        """Which site a node's context belongs to."""
        return self.sites[int(context.node_config["partition-id"])]

    def session(self, site: str) -> Session:
        """The session of a site, as its app would make it; never the cached one."""
        return Sessions()(self.folder(site), self.config["study"], (), (0,))

    def change_policy(self, site: str, **changes: object) -> SitePolicy:
        path = self.folder(site) / "policy.yaml"
        policy = replace(load_policy(path), **changes)
        path.write_text(to_yaml(policy))
        return policy

    def grid(self, client: Callable[..., Message] = client_app, tap: Any = None) -> InProcessGrid:
        return InProcessGrid(client, len(self.sites), self.config, tap)

    def sums(
        self,
        grid: InProcessGrid | None = None,
        study: Study | None = None,
        run: str = "run-1",
        heads: Heads | None = None,
    ) -> tuple[Sums, list[str]]:
        """What plays sums among the sites, and the lines that it logs."""
        lines: list[str] = []
        nodes = dict(zip(self.sites, range(1000, 1000 + len(self.sites)), strict=True))
        exchange = GridExchange(grid or self.grid(), nodes, 5.0, lines.append)
        chosen = study or self.study
        policy = policy_for(chosen, self.roster)
        return Sums(exchange, policy, chosen, run, lines.append, heads), lines

    def context(self, sums: Sums, task: str, round_: int, model_hash: bytes) -> Context:
        asked = config_hash(sums.study)
        return Context(sums.policy.policy_id, sums.run, round_, 0, task, asked, model_hash)


def make_rows(site: str, seed: int) -> tuple[Row, ...]:
    """Clips whose class shows in both modalities, on top of each person's own offset."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(7)
    mean_a, mean_b = means.normal(0, 1.5, (3, DIM_A)), means.normal(0, 1.5, (3, DIM_B))
    rows = []
    for person in range(PERSONS):
        own = rng.normal(0, 0.5, DIM_A)
        for clip in range(CLIPS):
            k = int(rng.integers(0, 3))
            a = tuple(np.float32(mean_a[k] + own + rng.normal(0, 0.7, DIM_A)).tolist())
            b = tuple(np.float32(mean_b[k] + rng.normal(0, 0.7, DIM_B)).tolist())
            lacks = site == BLIND or clip % 4 == 3
            sample = f"clip-{site}-{person}-{clip}"
            person_id = f"patient-{site}-{person}"
            rows.append(Row(sample, person_id, CLASSES[k], a, () if lacks else b))
    return tuple(rows)


def write_manifest(path: Path, rows: tuple[Row, ...], group: str = "") -> None:
    """Write a manifest; a column of a modality that no row has is left out."""
    names = ["sample_id", "person_id", "label", "features_a"]
    names += ["features_b"] if any(row.features_b for row in rows) else []
    names += ["group_sex"] if group else []
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as out:
        table = csv.DictWriter(out, names, extrasaction="ignore")
        table.writeheader()
        for index, row in enumerate(rows):
            cells = {"sample_id": row.sample_id, "person_id": row.person_id, "label": row.label}
            cells["features_a"] = json.dumps(row.features_a)
            cells["features_b"] = json.dumps(row.features_b) if row.features_b else ""
            cells["group_sex"] = group[index % len(group)] if group else ""
            table.writerow(cells)


def write_corpus(root: Path) -> TinyData:
    rows = {site: make_rows(site, seed) for seed, site in enumerate(SITES)}
    for site, mine in rows.items():
        write_manifest(root / "sites" / site / "manifest.csv", mine)
    return TinyData(root, rows)


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The real corpora beside the checkout."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"the real corpora are not there: {path}")
    return path


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> TinyData:
    """Four sites of six persons of eight clips; one site and some clips lack features_b."""
    return write_corpus(tmp_path_factory.mktemp("tiny-corpus"))


@pytest.fixture
def own_data(tmp_path: Path) -> TinyData:
    """The same corpus, for a test that changes it."""
    return write_corpus(tmp_path / "corpus")


@pytest.fixture(scope="session")
def tiny_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny-study") / "tiny.yaml"
    path.write_text(TINY_YAML)
    return path


@pytest.fixture(scope="session")
def tiny_study(tiny_yaml: Path) -> Callable[..., Study]:
    """The tiny study, with key=value settings on top."""
    return lambda *pairs: load_study(str(tiny_yaml), pairs)


@pytest.fixture(scope="session")
def run_tiny(
    tiny_data: TinyData, tiny_study: Callable[..., Study], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Whole]:
    """Run the tiny study to its end in this process."""

    def play(*pairs: str, data: Path = tiny_data.root, reproducible: bool = False) -> Whole:
        study, tape = tiny_study(*pairs), Tape()
        out = tmp_path_factory.mktemp("run") / "run"
        run = simulate(study, data, out, reproducible=reproducible, tap=tape)
        return Whole(run, load_study(str(run.study)), tape)

    return play


@pytest.fixture
def lay_table(
    tiny_data: TinyData, tiny_study: Callable[..., Study], tmp_path: Path
) -> Iterator[Callable[..., Table]]:
    """Prepare a federation over the tiny corpus, or another one."""

    def lay(*pairs: str, data: Path = tiny_data.root, seed: int | None = 0) -> Table:
        study = tiny_study(*pairs)
        root = tmp_path / f"federation-{len(list(tmp_path.glob('federation-*')))}"
        made = prepare_federation(study, data, root, seed)
        study = resolved(study, len(made.sites), parameters_of(study))
        path = root / "study.yaml"
        path.write_text(to_yaml(study))
        config = {"study": str(path), "federation": str(root), "run-dir": str(root / "run")}
        session.cache_clear()
        return Table(root, study, made.sites, config)

    yield lay
    session.cache_clear()


@pytest.fixture(scope="session")
def open_run(run_tiny: Callable[..., Whole]) -> Whole:
    """A finished run without privacy, with the sites' feature statistics."""
    return run_tiny("normalise=federated", "training.num_server_rounds=4")


@pytest.fixture(scope="session")
def local_run(run_tiny: Callable[..., Whole]) -> Whole:
    """A finished run with noise at each site; it cannot be repeated."""
    return run_tiny("privacy.mode=local")


@pytest.fixture(scope="session")
def shared_run(run_tiny: Callable[..., Whole]) -> Whole:
    """A finished run with shares of one noise; it cannot be repeated."""
    return run_tiny("privacy.mode=distributed", "privacy.noise_multiplier=2.0")


@pytest.fixture(name="write_manifest")
def write_manifest_fixture() -> Callable[..., None]:
    return write_manifest
