"""What the secure sum costs beside Flower's SecAgg+: CPU time, both alternating in one process."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import process_time

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from common.secagg import masks
from simulations.bench.flower_secagg import MASK, SHARE, Cost, client_s, fedavg_s, secagg_plus
from simulations.bench.tacit_secagg import Round, secure_sum


@dataclass(frozen=True)
class Row:
    """One figure.

    Args:
        what: was measured.
        sites: in the round.
        parameters: of the update.
        flower: its cost, in seconds of CPU or in bytes.
        tacit: this project's cost, in the same.
        ratio: how many times less this project needs; or, where it says "share", which
            share of the other's cost it needs.
        asked: the least ratio asked for; the largest share.
        met: whether it is met.
    """

    what: str
    sites: int
    parameters: int
    flower: float
    tacit: float
    ratio: float
    asked: float
    met: bool


def measure(
    sites: Sequence[int] = (10, 50),
    parameters: int = 1_000_000,
    repetitions: int = 2,
    share_sites: int = 100,
) -> list[Row]:
    """Return the table of figures, each the least of several repetitions.

    Args:
        sites: cohorts to measure.
        parameters: of the update.
        repetitions: rounds of either side, alternating; more than 20 sites are played once.
        share_sites: cohort whose SHARE stage is measured, on a tiny update.
    """
    rows = [masks_row(parameters)]
    for n in sites:
        rounds = repetitions if n <= 20 else 1
        rows += round_rows(n, parameters, rounds)
    rows += share_rows(share_sites)
    return rows


def _least(costs: Sequence[Cost]) -> Cost:
    """Return the least of each figure."""
    return Cost(
        min(cost.client_share_s for cost in costs),
        min(cost.client_mask_s for cost in costs),
        min(cost.server_s for cost in costs),
        min(cost.upload_bytes for cost in costs),
    )


def _alternating(n: int, parameters: int, lost: int, repetitions: int) -> tuple[Cost, Cost]:
    """Return the least costs of Flower and of this project, one round of each in turn."""
    pairs = [
        (secagg_plus(n, parameters, lost, i), secure_sum(n, parameters, lost))
        for i in range(repetitions)
    ]
    return _least([pair[0] for pair in pairs]), _least([pair[1] for pair in pairs])


def round_rows(n: int, parameters: int, repetitions: int) -> list[Row]:
    """Return the figures of whole rounds of n sites."""
    client_asked, server_asked = (12.0, 30.0) if n <= 20 else (14.0, 100.0)
    flower, tacit = _alternating(n, parameters, 0, repetitions)
    lossy, ours = _alternating(n, parameters, n // 10, repetitions)
    plain = min(fedavg_s(n, parameters) for _ in range(3))
    return [
        _faster(
            "client: quantise, mask, serialise",
            (n, parameters),
            (flower.client_mask_s, tacit.client_mask_s),
            client_asked,
        ),
        _faster(
            "server: sum, recover, decode",
            (n, parameters),
            (flower.server_s, tacit.server_s),
            server_asked,
        ),
        _faster(
            "server, 10 % dropped", (n, parameters), (lossy.server_s, ours.server_s), server_asked
        ),
        _share(
            "server against plaintext FedAvg (share)",
            (n, parameters),
            (plain, tacit.server_s),
            0.5,
        ),
        _share(
            "upload against float32 (share)",
            (n, parameters),
            (4.0 * parameters, tacit.upload_bytes),
            0.67,
        ),
    ]


def share_rows(n: int, clients: int = 5) -> list[Row]:
    """Return the cost of the SHARE stage at a client, both suites."""
    flower = client_s(n, 100, SHARE, clients)
    rows = []
    for suite in ("x25519", "mlkem768_x25519"):
        tacit = Round(n, 100, 0, suite).client_share_s(clients)
        rows.append(_faster(f"share stage, {suite}", (n, 100), (flower, tacit), 50.0))
    return rows


def large_row(n: int, parameters: int, clients: int = 3) -> Row:
    """Return the cost of masking a large update: a few clients play it, and no server."""
    flower = client_s(n, parameters, MASK, clients)
    tacit = Round(n, parameters, 0, "x25519").client_mask_s(clients)
    return _faster("client: quantise, mask, serialise", (n, parameters), (flower, tacit), 18.0)


def masks_row(parameters: int) -> Row:
    """Return the cost of masks applied against the raw AES-256-CTR of the same library."""
    words_W = np.zeros(parameters // 3, np.uint64)
    keys, zeros = [os.urandom(32) for _ in range(20)], bytes(words_W.nbytes)

    def raw() -> None:
        for key in keys:
            Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update(zeros)

    raw_s = min(_timed(raw) for _ in range(5))
    ours_s = min(_timed(lambda: masks.apply(words_W, keys, [])) for _ in range(5))
    return _faster("masks applied against raw AES-256-CTR", (20, parameters), (raw_s, ours_s), 1.5)


def _faster(what: str, size: tuple[int, int], costs: tuple[float, float], asked: float) -> Row:
    ratio = costs[0] / costs[1]
    return Row(what, *size, *costs, ratio, asked, ratio >= asked)


def _share(what: str, size: tuple[int, int], costs: tuple[float, float], asked: float) -> Row:
    share = costs[1] / costs[0]
    return Row(what, *size, *costs, share, asked, round(share, 2) <= asked)


def _timed(run: Callable[[], object]) -> float:
    started = process_time()
    run()
    return process_time() - started
