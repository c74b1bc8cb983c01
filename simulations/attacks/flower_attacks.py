"""Each attack on Flower's SecAgg+: played to the end, and what came out compared with the truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from flwr.common.secure_aggregation.crypto.shamir import combine_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import decrypt, encrypt
from flwr.common.secure_aggregation.secaggplus_utils import (
    share_keys_plaintext_concat,
    share_keys_plaintext_separate,
)

from common.parameters import Arrays
from simulations.attacks.flower_side import (
    CLIPPING_RANGE,
    MAX_WEIGHT,
    MOD_RANGE,
    STEP,
    TARGET_RANGE,
    FlowerSites,
    Keys,
    Shares,
    Upload,
    Vector,
    in_clear,
    new_keys,
    shared_key,
    without_masks,
)
from simulations.attacks.outcome import Found, Observed, Values, compare, nothing
from simulations.attacks.scene import OTHERS, SITES, VICTIM, Scene

THRESHOLD = 3
"""Of five sites, as with Flower's usual reconstruction_threshold of 0.6."""

Alive = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]


@dataclass
class Bench:
    """A coordinator at work on Flower's clients.

    Args:
        scene: what the clients train on.
        sites: the clients.
    """

    scene: Scene
    sites: FlowerSites
    shapes: list[tuple[int, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self.shapes = [value.shape for value in self.scene.model.values()]

    def found(self, guess_P: Values) -> Found:
        """Compare a guess at the victim's trained parameters with what it really trained."""
        truth, clips = self.scene.trained(VICTIM, self.scene.model)
        return compare(guess_P, flat(truth), len(SITES) * STEP * MAX_WEIGHT / clips)

    def masked(
        self, names: tuple[str, ...], models: Mapping[str, Arrays], threshold: int = THRESHOLD
    ) -> tuple[dict[str, Keys], dict[str, Upload]]:
        """Play the first three stages by the book; public keys and masked vectors."""
        keys = self.sites.setup(names, len(names), threshold)
        dealt = self.sites.share(dict.fromkeys(keys, keys))
        inbox = {
            me: {peer: sealed[me] for peer, sealed in dealt.items() if peer != me} for me in dealt
        }
        return keys, self.sites.collect(inbox, models)

    def total(self, uploads: Mapping[str, Upload]) -> Vector:
        """UNMASK by the book: the sum of all vectors."""
        names = tuple(uploads)
        replies = self.sites.unmask(dict.fromkeys(names, (names, ())))
        seeds = [combine_shares([b[name] for b, _ in replies.values()]) for name in names]
        summed_P = np.sum([one.vector_P for one in uploads.values()], axis=0)
        return without_masks(summed_P, self.shapes, [], seeds)

    def stripped(
        self, upload: Upload, seed: bytes, private: bytes, keys: Mapping[str, Keys]
    ) -> Values:
        """The victim's parameters from its upload and both of its secrets."""
        return self.unmasked(
            upload, seed, {peer: shared_key(private, keys[peer][0]) for peer in keys}
        )

    def unmasked(self, upload: Upload, seed: bytes, pairs: Mapping[str, bytes]) -> Values:
        """The victim's parameters once its own mask and those with its peers are off."""
        nodes = self.sites.nodes
        plus = [key for peer, key in pairs.items() if nodes[peer] > nodes[VICTIM]]
        minus = [key for peer, key in pairs.items() if nodes[peer] < nodes[VICTIM]]
        return in_clear(without_masks(upload.vector_P, self.shapes, plus, [seed, *minus]))


def key_swap(at: Bench) -> tuple[Found, str]:
    """The coordinator's own keys stand for all other sites; the victim is the only one asked."""
    own = {peer: new_keys() for peer in OTHERS}
    true = at.sites.setup((VICTIM,), len(SITES), THRESHOLD)[VICTIM]
    told = {VICTIM: true} | {peer: keys.public for peer, keys in own.items()}
    dealt = at.sites.share({VICTIM: told})[VICTIM]
    sealing = {peer: shared_key(keys.private[1], true[1]) for peer, keys in own.items()}
    seed = combine_shares([_opened(sealing[peer], dealt[peer])[0] for peer in OTHERS])
    nodes = at.sites.nodes
    forged = {
        peer: encrypt(key, share_keys_plaintext_concat(nodes[peer], nodes[VICTIM], b"", b""))
        for peer, key in sealing.items()
    }
    uploads = at.sites.collect({VICTIM: forged}, {VICTIM: at.scene.model})
    pairs = {peer: shared_key(keys.private[0], true[0]) for peer, keys in own.items()}
    guess_P = at.unmasked(uploads[VICTIM], seed, pairs)
    return at.found(guess_P), "It opened cedar's shares and masks with its own keys."


def cohort_of_one(at: Bench) -> tuple[Found, str]:
    """Only the victim is invited, with a threshold of 1."""
    _, uploads = at.masked((VICTIM,), {VICTIM: at.scene.model}, threshold=1)
    return at.found(in_clear(at.total(uploads))), "The sum over one site is that site's update."


def both_secrets(at: Bench) -> tuple[Found, str]:
    """Every site is asked for its shares of the victim's two secrets in one message."""
    keys, uploads = at.masked(SITES, dict.fromkeys(SITES, at.scene.model))
    replies = at.sites.unmask(dict.fromkeys(SITES, (SITES, (VICTIM,))))
    return _from_both(
        at, keys, uploads, replies
    ), "Listed alive and dead in one message, every site gave both."


def two_lists(at: Bench) -> tuple[Found, str]:
    """Two sites are told that the victim is there, two that it is gone; the threshold is 2."""
    keys, uploads = at.masked(SITES, dict.fromkeys(SITES, at.scene.model), threshold=2)
    told: Alive = dict.fromkeys(OTHERS[:2], (SITES, ()))
    told |= dict.fromkeys(OTHERS[2:], (OTHERS, (VICTIM,)))
    replies = at.sites.unmask(told)
    return _from_both(
        at, keys, uploads, replies
    ), "Two sites gave one secret, two the other: as many as the coordinator said are needed."


def _from_both(
    at: Bench,
    keys: Mapping[str, Keys],
    uploads: Mapping[str, Upload],
    replies: Mapping[str, tuple[Shares, Shares]],
) -> Found:
    """What the shares of both of the victim's secrets are good for."""
    b = [alive[VICTIM] for alive, _ in replies.values() if VICTIM in alive]
    private = [dead[VICTIM] for _, dead in replies.values() if VICTIM in dead]
    others = {peer: one for peer, one in keys.items() if peer != VICTIM}
    return at.found(
        at.stripped(uploads[VICTIM], combine_shares(b), combine_shares(private), others)
    )


def replay(at: Bench) -> tuple[Found, str]:
    """UNMASK is sent again; then the round is repeated on the same model without the victim."""
    models = dict.fromkeys(SITES, at.scene.model)
    _, uploads = at.masked(SITES, models)
    whole_P = at.total(uploads)
    again = at.sites.unmask(dict.fromkeys(SITES, (OTHERS, (VICTIM,))))
    _, uploads = at.masked(OTHERS, models)
    rest_P = at.total(uploads)
    second = "answered" if again else "refused"
    how = (
        f"The second UNMASK is {second}; the repeated round is not. Training repeats itself here, "
    )
    how += "so the difference of the two sums is cedar's."
    return at.found(in_clear((whole_P - rest_P) & (MOD_RANGE - 1))), how


def different_models(at: Bench) -> tuple[Found, str]:
    """Everybody but the victim is sent a model that cannot learn; the protocol is kept to."""
    models = dict.fromkeys(OTHERS, at.scene.dead_model) | {VICTIM: at.scene.model}
    _, uploads = at.masked(SITES, models)
    left_P = at.total(uploads).astype(np.float64)
    for site in OTHERS:
        weight = round(uploads[site].clips / MAX_WEIGHT * TARGET_RANGE)
        dead_P = flat(at.scene.dead_model) * (weight / TARGET_RANGE)
        left_P[0] -= weight
        left_P[1:] -= (np.clip(dead_P, -CLIPPING_RANGE, CLIPPING_RANGE) + CLIPPING_RANGE) / STEP
    how = "What the others add is known then; the rest of the sum is cedar's."
    return at.found((left_P[1:] * STEP - CLIPPING_RANGE) / (left_P[0] / TARGET_RANGE)), how


Attack = Callable[[Bench], tuple[Found, str]]
ATTACKS: dict[str, Attack] = {
    "key_swap": key_swap,
    "cohort_of_one": cohort_of_one,
    "both_secrets": both_secrets,
    "replay": replay,
    "two_lists": two_lists,
    "different_models": different_models,
}


def attack_flower(scene: Scene, name: str) -> Observed:
    """Play one attack on Flower's SecAgg+.

    Returns:
        what came of it; an attack that Flower's clients stopped is said to have been stopped.
    """
    at = Bench(scene, FlowerSites(scene))
    try:
        found, how = ATTACKS[name](at)
    except (KeyError, ValueError, IndexError):
        if not at.sites.said:
            raise
        found, how = nothing(flat(scene.model).size), ""
    return Observed(found, (), tuple(at.sites.said), how)


def flat(arrays: Arrays) -> Values:
    """All values of a model, one after the other."""
    return np.concatenate([value.reshape(-1) for value in arrays.values()]).astype(np.float64)


def _opened(key: bytes, sealed: bytes) -> Keys:
    """Both shares in a ciphertext between two sites."""
    _, _, b, private = share_keys_plaintext_separate(decrypt(key, sealed))
    return b, private
