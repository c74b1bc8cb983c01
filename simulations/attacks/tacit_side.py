"""This project's sites as they are deployed, and a coordinator that sends them what it likes.

The sites are the real ClientApp over real folders: policy, ledger, locks and log. The coordinator
has the real protocol's functions in its hands, and bends its own copy of the policy.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from client.app import app as client_app
from common.errors import ProtocolError
from common.keys import read_roster
from common.parameters import Arrays, model_hash
from common.secagg import coordinator as co
from common.secagg.masks import Words
from common.secagg.messages import Reveal, decode, is_refusal
from common.secagg.progress import Keyed, Requests
from common.secagg.roster import Context, Policy
from common.settings import config_hash
from common.sums import policy_for
from common.wire import Request
from server.exchange import GridExchange
from simulations.attacks.loot import values_of
from simulations.attacks.outcome import Found, Said, closest, compare, nothing
from simulations.attacks.scene import SITES, STUDY, VICTIM, Scene, twin
from simulations.federation import InProcessGrid

TASK, RUN = "train", "attack"


@dataclass(frozen=True)
class BentPolicy(Policy):
    """The coordinator's own copy of the policy: it claims to be the one that the sites pinned.

    Args:
        claimed: policy_id of that one.
    """

    claimed: bytes = b""

    def __post_init__(self) -> None:
        """Check nothing: who cheats does not."""

    @property
    def policy_id(self) -> bytes:
        """What is claimed."""
        return self.claimed

    def quorum(self, cohort_size: int) -> int:
        """Return the fewest sites that the cheat is content with."""
        return min(self.min_sites, cohort_size)


def bent(policy: Policy, **changes: object) -> Policy:
    """The policy with changes that the sites are not told of."""
    copy = BentPolicy(policy.roster, policy.layouts, policy.suite, claimed=policy.policy_id)
    return replace(copy, **changes)  # type: ignore[arg-type]


@dataclass
class Coordinator:
    """A coordinator that cheats, with all that it ever got.

    Args:
        scene: what the sites train on.
        federation: the sites' folders, which it does not read.
        policy: the one that the sites pinned.
        exchange: reaches the sites.
        models: the model that a site is sent, where it is not the scene's.
        answered: "site stage" of each cheating message that got an answer.
        reveals: every share that was revealed.
        said: every refusal, from the sites' own logs; only a simulation may read them.
    """

    scene: Scene
    federation: Path
    policy: Policy
    exchange: GridExchange
    models: dict[str, Arrays] = field(default_factory=dict, repr=False)
    answered: list[str] = field(default_factory=list)
    reveals: list[Reveal] = field(default_factory=list, repr=False)
    said: list[Said] = field(default_factory=list)

    def context(self, number: int = 1) -> Context:
        """What a round is about, as the sites expect it; the model is named in MASK."""
        return Context(self.policy.policy_id, RUN, number, 0, TASK, config_hash(STUDY))

    def model(self, site: str = VICTIM) -> Arrays:
        """The model that a site is sent."""
        return self.models.get(site, self.scene.model)

    def hashed(self, site: str = VICTIM) -> bytes:
        """The hash of the model that a site is sent."""
        return model_hash(self.model(site))

    def ask(self, stage: str, requests: Mapping[str, bytes]) -> Requests:
        """Send each site a message of a stage; the replies of those that did not refuse."""
        asked = {
            site: Request(
                stage, {"task": TASK, "body": body}, self.model(site) if stage == "mask" else {}
            )
            for site, body in requests.items()
        }
        given = {}
        for site, reply in self.exchange(stage, asked).items():
            body = reply.fields.get("body", b"")
            if isinstance(body, bytes) and body and not is_refusal(body):
                given[site] = body
        self._note_refusals()
        if stage == "unmask":
            self.reveals += [decode(Reveal, body, site) for site, body in given.items()]
        return given

    def cheat(self, stage: str, requests: Mapping[str, bytes]) -> Requests:
        """Send messages that every site ought to refuse; remember who did not."""
        given = self.ask(stage, requests)
        self.answered += [f"{site} {stage}" for site in given]
        return given

    def keyed(self, context: Context, cohort: Iterable[str] = SITES) -> Keyed:
        """ADVERTISE and SHARE by the book."""
        opened, requests = co.open_round(self.policy, context, tuple(cohort))
        adverted, requests = co.advertised(opened, self.ask("advertise", requests))
        return co.shared(adverted, self.ask("share", requests))

    def found(self, context: Context, guesses_W: Iterable[Words], sites: int = 1) -> Found:
        """Compare guesses at the victim's vector with what it really adds to such a sum.

        Args:
            context: of the round.
            guesses_W: words that may be the victim's own.
            sites: vectors whose weights may still stand in a guess.
        """
        layout = self.policy.layouts[TASK]
        truth_W = self.scene.truth(self.federation, context, self.scene.model)
        truth_P = values_of(truth_W, layout, 1)
        tolerance = len(SITES) * max(layout.grid(real) for real in layout.reals)
        found = []
        for guess_W in guesses_W:
            try:
                found.append(compare(values_of(guess_W, layout, sites), truth_P, tolerance))
            except ProtocolError:
                continue  # no vector that sites could have sent: a mask is left on it
        return closest([nothing(truth_P.size), *found])

    def _note_refusals(self) -> None:
        """Take over what the sites have logged since the last time."""
        known = Counter(one.site for one in self.said)
        for site in SITES:
            self.said += logged(self.federation / "sites" / site)[known[site] :]


def logged(folder: Path) -> list[Said]:
    """Every refusal in a site's own log."""
    path = folder / "site.log"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    refused = [one for one in map(json.loads, lines) if one["event"] == "refused"]
    return [Said(folder.name, one["stage"], one["error"], one["reason"]) for one in refused]


def coordinator(scene: Scene, name: str) -> Coordinator:
    """A coordinator before fresh sites."""
    federation = scene.federation(f"tacit-{name}")
    twin(federation)
    config = {"study": str(scene.study_path), "federation": str(federation)}
    grid = InProcessGrid(client_app, len(SITES), config)
    nodes = dict(zip(SITES, grid.get_node_ids(), strict=True))
    wait_s = STUDY.secure_aggregation.stage_timeout_s
    exchange = GridExchange(grid, nodes, wait_s, lambda _line: None)
    policy = policy_for(STUDY, read_roster(federation / "roster.json"))
    return Coordinator(scene, federation, policy, exchange)
