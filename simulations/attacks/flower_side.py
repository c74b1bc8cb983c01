"""Flower's own SecAgg+ clients, and what a coordinator needs to talk to them as it likes.

The clients are the real secaggplus_mod of Flower round a real ClientApp; each message passes
through Flower's serialisation. The coordinator is this file: it says what it wants instead of
what Flower's SecAggPlusWorkflow would say, with Flower's own functions for keys, shares and masks.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client import ClientApp, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.common import FitIns, bytes_to_ndarray, ndarrays_to_parameters
from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from flwr.compat.common import recorddict_compat as compat
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    bytes_to_public_key,
    generate_key_pairs,
    private_key_to_bytes,
    public_key_to_bytes,
)
from numpy.typing import NDArray

from common.parameters import Arrays
from simulations.attacks.outcome import Said, Values
from simulations.attacks.scene import SITES, Scene
from simulations.federation import InProcessGrid

CLIPPING_RANGE, TARGET_RANGE, MOD_RANGE, MAX_WEIGHT = 8.0, 1 << 22, 1 << 32, 1000.0
"""The defaults of Flower's workflow."""
STEP = 2 * CLIPPING_RANGE / TARGET_RANGE

Vector = NDArray[np.int64]
Keys = tuple[bytes, bytes]
Shares = dict[str, bytes]


@dataclass(frozen=True)
class KeyPairs:
    """Both key pairs of a party: the first makes masks, the second encrypts shares."""

    private: Keys = field(repr=False)
    public: Keys


@dataclass(frozen=True)
class Upload:
    """A masked vector, and the number of examples that Flower's client sends in the clear."""

    vector_P: Vector
    clips: int


class _Client(NumPyClient):
    """Trains on a site's own recordings."""

    def __init__(self, scene: Scene, site: str) -> None:
        self._scene, self._site = scene, site

    def fit(self, parameters: Any, config: Any) -> Any:
        """Return the trained parameters and the number of clips."""
        del config
        model = dict(zip(self._scene.model, parameters, strict=True))
        after, clips = self._scene.trained(self._site, model)
        return list(after.values()), clips, {}


class FlowerSites:
    """Five clients of Flower, joined by a Grid in this process.

    Args:
        scene: what they train on.
    """

    def __init__(self, scene: Scene) -> None:
        self.said: list[Said] = []
        self._scene, self._stage = scene, ""
        self._app = ClientApp(client_fn=self._client, mods=[secaggplus_mod])
        self._grid = InProcessGrid(cast("ClientApp", self._remembering), len(SITES), {})
        self.nodes = dict(zip(SITES, self._grid.get_node_ids(), strict=True))

    def _client(self, context: Context) -> Any:
        return _Client(self._scene, _site_of(context)).to_client()

    def _remembering(self, message: Message, context: Context) -> Message:
        """Answer as the client does; keep what it says when it refuses."""
        try:
            return self._app(message, context)
        except Exception as error:
            self.said.append(Said(_site_of(context), self._stage, type(error).__name__, str(error)))
            raise

    def ask(
        self, stage: str, asked: Mapping[str, dict[str, Any]], models: Mapping[str, Arrays]
    ) -> dict[str, RecordDict]:
        """Send each site its message of a stage; the replies of those that answered."""
        self._stage = stage
        messages = [
            Message(_content(stage, configs, models.get(site)), self.nodes[site], "train")
            for site, configs in asked.items()
        ]
        with _quiet():
            replies = list(self._grid.send_and_receive(messages))
        names = {node: site for site, node in self.nodes.items()}
        return {names[r.metadata.src_node_id]: r.content for r in replies if r.has_content()}

    def setup(self, sites: tuple[str, ...], shares: int, threshold: int) -> dict[str, Keys]:
        """SETUP: say how many shares and which threshold; the sites' public keys."""
        configs = {
            Key.SAMPLE_NUMBER: shares,
            Key.SHARE_NUMBER: shares,
            Key.THRESHOLD: threshold,
            Key.CLIPPING_RANGE: CLIPPING_RANGE,
            Key.TARGET_RANGE: TARGET_RANGE,
            Key.MOD_RANGE: MOD_RANGE,
            Key.MAX_WEIGHT: MAX_WEIGHT,
        }
        replies = _configs(self.ask(Stage.SETUP, dict.fromkeys(sites, configs), {}))
        return {s: (r[Key.PUBLIC_KEY_1], r[Key.PUBLIC_KEY_2]) for s, r in replies.items()}

    def share(self, told: Mapping[str, Mapping[str, Keys]]) -> dict[str, dict[str, bytes]]:
        """SHARE_KEYS: tell each site whose keys are which; {site: {peer: ciphertext}}."""
        asked = {
            site: {str(self.nodes[peer]): list(keys) for peer, keys in peers.items()}
            for site, peers in told.items()
        }
        names = {node: site for site, node in self.nodes.items()}
        return {
            site: {
                names[node]: sealed
                for node, sealed in zip(
                    r[Key.DESTINATION_LIST], r[Key.CIPHERTEXT_LIST], strict=True
                )
            }
            for site, r in _configs(self.ask(Stage.SHARE_KEYS, asked, {})).items()
        }

    def collect(
        self, inbox: Mapping[str, Mapping[str, bytes]], models: Mapping[str, Arrays]
    ) -> dict[str, Upload]:
        """COLLECT_MASKED_VECTORS: pass on {site: {peer: ciphertext}} and a model each."""
        asked = {
            site: {
                Key.SOURCE_LIST: [self.nodes[peer] for peer in sealed],
                Key.CIPHERTEXT_LIST: list(sealed.values()),
            }
            for site, sealed in inbox.items()
        }
        return {
            site: _upload(content)
            for site, content in self.ask(Stage.COLLECT_MASKED_VECTORS, asked, models).items()
        }

    def unmask(
        self, told: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    ) -> dict[str, tuple[Shares, Shares]]:
        """UNMASK: tell each site who is (alive, dead); its shares of b, and of the private keys."""
        asked = {
            site: {
                Key.ACTIVE_NODE_ID_LIST: [self.nodes[one] for one in alive],
                Key.DEAD_NODE_ID_LIST: [self.nodes[one] for one in dead],
            }
            for site, (alive, dead) in told.items()
        }
        replies = _configs(self.ask(Stage.UNMASK, asked, {}))
        return {site: _parted(told[site], r[Key.SHARE_LIST]) for site, r in replies.items()}


def _site_of(context: Context) -> str:
    return SITES[int(context.node_config["partition-id"])]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Flower's own log off the terminal."""
    log = logging.getLogger("flwr")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)


def _content(stage: str, configs: dict[str, Any], model: Arrays | None) -> RecordDict:
    content = RecordDict()
    if model is not None:
        parameters = ndarrays_to_parameters(list(model.values()))
        content = compat.fitins_to_recorddict(FitIns(parameters, {}), True)
    content.config_records[RECORD_KEY_CONFIGS] = ConfigRecord({**configs, Key.STAGE: stage})
    return content


def _configs(replies: Mapping[str, RecordDict]) -> dict[str, dict[str, Any]]:
    return {
        site: dict(content.config_records[RECORD_KEY_CONFIGS]) for site, content in replies.items()
    }


def _upload(content: RecordDict) -> Upload:
    masked = content.config_records[RECORD_KEY_CONFIGS][Key.MASKED_PARAMETERS]
    parts = [bytes_to_ndarray(raw).reshape(-1) for raw in cast("list[bytes]", masked)]
    clips = content.metric_records["fitres.num_examples"]["num_examples"]
    return Upload(np.concatenate(parts).astype(np.int64), int(cast("int", clips)))


def _parted(
    told: tuple[tuple[str, ...], tuple[str, ...]], shares: list[bytes]
) -> tuple[Shares, Shares]:
    alive, dead = told
    return (
        dict(zip(alive, shares[: len(alive)], strict=True)),
        dict(zip(dead, shares[len(alive) :], strict=True)),
    )


def new_keys() -> KeyPairs:
    """Two fresh key pairs of the coordinator's own."""
    pairs = [generate_key_pairs() for _ in range(2)]
    private = (private_key_to_bytes(pairs[0][0]), private_key_to_bytes(pairs[1][0]))
    return KeyPairs(private, (public_key_to_bytes(pairs[0][1]), public_key_to_bytes(pairs[1][1])))


def shared_key(private: bytes, public: bytes) -> bytes:
    """What two sites agree on: the key of their mask, or of what they encrypt for each other."""
    return generate_shared_key(bytes_to_private_key(private), bytes_to_public_key(public))


def without_masks(
    vector_P: Vector, shapes: list[tuple[int, ...]], plus: list[bytes], minus: list[bytes]
) -> Vector:
    """Add the masks of some keys to a vector, and take off those of others."""
    for sign, keys in ((1, plus), (-1, minus)):
        for key in keys:
            mask = pseudo_rand_gen(key, MOD_RANGE, [(1,), *shapes])
            vector_P = vector_P + sign * np.concatenate([part.reshape(-1) for part in mask])
    return vector_P & (MOD_RANGE - 1)


def in_clear(vector_P: Vector) -> Values:
    """The parameters of one site's vector once no mask is left: its weight comes first."""
    share = max(int(vector_P[0]), 1) / TARGET_RANGE
    return (vector_P[1:].astype(np.float64) * STEP - CLIPPING_RANGE) / share
