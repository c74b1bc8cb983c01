"""What the secure sum costs beside Flower's SecAgg+: CPU time, both alternating in one process."""

import os
from collections.abc import Callable, Sequence
from dataclasses import astuple
from time import process_time

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from common.secagg import masks
from simulations.bench.figures import Figure, faster, share
from simulations.bench.flower_secagg import MASK, SHARE, Cost, client_s, fedavg_s, secagg_plus
from simulations.bench.tacit_secagg import Round, secure_sum

CLIENT = "client: quantise, mask, serialise"
ASKED = {
    (CLIENT, 10, 1_000_000): 12.0,
    (CLIENT, 50, 1_000_000): 14.0,
    (CLIENT, 50, 10_000_000): 18.0,
    ("server: sum, recover, decode", 10, 1_000_000): 30.0,
    ("server: sum, recover, decode", 50, 1_000_000): 100.0,
    ("server, 10 % dropped", 10, 1_000_000): 30.0,
    ("server, 10 % dropped", 50, 1_000_000): 100.0,
    ("server against plaintext FedAvg", 10, 1_000_000): 0.5,
    ("server against plaintext FedAvg", 50, 1_000_000): 0.5,
    ("share stage, x25519", 100, 100): 50.0,
    ("share stage, mlkem768_x25519", 100, 100): 50.0,
    ("masks applied against raw AES-256-CTR", 20, 1_000_000): 1.5,
    ("upload against float32", 10, 1_000_000): 0.67,
    ("upload against float32", 50, 1_000_000): 0.67,
}
"""(what, sites, parameters): what was asked; at other sizes a figure is only reported."""


def _least(costs: Sequence[Cost]) -> Cost:
    """Return the least of each figure."""
    return Cost(*(min(values) for values in zip(*map(astuple, costs), strict=True)))


def _alternating(n: int, parameters: int, lost: int, repetitions: int) -> tuple[Cost, Cost]:
    """Return the least costs of Flower and of this project, one round of each in turn."""
    pairs = [
        (secagg_plus(n, parameters, lost, i), secure_sum(n, parameters, lost))
        for i in range(repetitions)
    ]
    return _least([pair[0] for pair in pairs]), _least([pair[1] for pair in pairs])


def of_rounds(n: int, parameters: int, repetitions: int) -> list[Figure]:
    """Return the figures of whole rounds of n sites; of more than 20 sites one is played."""
    rounds = repetitions if n <= 20 else 1
    flower, tacit = _alternating(n, parameters, 0, rounds)
    lossy, ours = _alternating(n, parameters, n // 10, rounds)
    plain_s = min(fedavg_s(n, parameters) for _ in range(3))
    size, sent = (n, parameters), (4.0 * parameters, float(tacit.upload_bytes))
    return [
        _faster(CLIENT, size, flower.client_mask_s, tacit.client_mask_s),
        _faster("client: all stages", size, flower.client_round_s, tacit.client_round_s),
        _faster("server: sum, recover, decode", size, flower.server_s, tacit.server_s),
        _faster("server, 10 % dropped", size, lossy.server_s, ours.server_s),
        _faster("server: all stages", size, flower.server_round_s, tacit.server_round_s),
        _share("server against plaintext FedAvg", size, plain_s, tacit.server_s),
        _share("upload against float32", size, *sent, unit="B"),
    ]


def of_sharing(n: int, clients: int = 5) -> list[Figure]:
    """Return the cost of the SHARE stage at a client, both suites, on a tiny update."""
    flower_s = client_s(n, 100, SHARE, clients)
    return [
        _faster(
            f"share stage, {suite}",
            (n, 100),
            flower_s,
            Round(n, 100, 0, suite).client_share_s(clients),
        )
        for suite in ("x25519", "mlkem768_x25519")
    ]


def of_large(n: int, parameters: int, clients: int = 3) -> list[Figure]:
    """Return the cost of masking a large update: a few clients play it, and no server."""
    flower_s = client_s(n, parameters, MASK, clients)
    tacit_s = Round(n, parameters, 0, "x25519").client_mask_s(clients)
    return [_faster(CLIENT, (n, parameters), flower_s, tacit_s)]


def of_masks(parameters: int) -> list[Figure]:
    """Return the cost of masks applied against the raw AES-256-CTR of the same library."""
    words_W = np.zeros(parameters // 3, np.uint64)
    keys, zeros = [os.urandom(32) for _ in range(20)], bytes(words_W.nbytes)

    def raw() -> None:
        for key in keys:
            Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update(zeros)

    raw_s = min(_timed(raw) for _ in range(5))
    ours_s = min(_timed(lambda: masks.apply(words_W, keys, [])) for _ in range(5))
    return [_faster("masks applied against raw AES-256-CTR", (20, parameters), raw_s, ours_s)]


def _faster(what: str, size: tuple[int, int], baseline: float, tacit: float) -> Figure:
    return faster(what, _setting(size), (baseline, tacit), ASKED.get((what, *size)))


def _share(
    what: str, size: tuple[int, int], baseline: float, tacit: float, unit: str = "s"
) -> Figure:
    return share(what, _setting(size), (baseline, tacit), ASKED.get((what, *size)), unit)


def _setting(size: tuple[int, int]) -> dict[str, int]:
    return dict(zip(("sites", "parameters"), size, strict=True))


def _timed(run: Callable[[], object]) -> float:
    started = process_time()
    run()
    return process_time() - started
