"""How many guesses the mask between two of Flower's sites takes."""

from dataclasses import dataclass
from itertools import combinations
from time import process_time

import numpy as np
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

from common.errors import EnvironmentFault
from simulations.attacks.flower_side import MOD_RANGE, Vector, new_keys, shared_key


@dataclass(frozen=True)
class Guessing:
    """How much of a key the mask between two of Flower's sites depends on.

    Args:
        bits: of the mask's seed that ever differ between keys.
        keys: looked at.
        guess_s: CPU seconds of one guess, for the first numbers of a mask.
    """

    bits: int
    keys: int
    guess_s: float


def guessing(parties: int = 24, guesses: int = 2000) -> Guessing:
    """Look at the masks between parties, with nothing but Flower's own functions.

    Raises:
        EnvironmentFault: a mask depends on more than the 32-bit fold of its key.
    """
    pairs = [new_keys() for _ in range(parties)]
    keys = [shared_key(a.private[0], b.public[0]) for a, b in combinations(pairs, 2)]
    folds = [_fold(key) for key in keys]
    for key, fold in zip(keys, folds, strict=True):
        if not np.array_equal(_few(key), _few(fold)):
            raise EnvironmentFault("Flower's masks are not made as they were in 1.41.")
    seeds = [int.from_bytes(fold, "little") for fold in folds]
    differing = 0
    for seed in seeds:
        differing |= seed ^ seeds[0]
    started = process_time()
    for guess in range(guesses):
        _few(guess.to_bytes(4, "little"))
    return Guessing(differing.bit_count(), len(keys), (process_time() - started) / guesses)


def _few(key: bytes) -> Vector:
    """The first numbers of a mask."""
    return np.asarray(pseudo_rand_gen(key, MOD_RANGE, [(2,)])[0])


def _fold(key: bytes) -> bytes:
    """The exclusive or of a key's 32-bit words."""
    words = np.frombuffer(key, "<u4")
    return bytes(np.bitwise_xor.reduce(words).astype("<u4").tobytes())
