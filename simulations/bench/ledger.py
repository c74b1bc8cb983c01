"""What the ledger costs, and how true its ε is: for `tacit bench dp`, and by itself."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from dp_accounting.pld import PLDAccountant

from common.privacy import accountant
from common.privacy.events import Event, Gaussian, PoissonSampledGaussian, to_dict, to_dp_event
from common.privacy.ledger import Entry, Ledger, Opening, read_ledger
from common.privacy.ledger.chain import START, Head, next_entry
from common.privacy.ledger.file import LedgerFile
from common.privacy.ledger.state import opening_to
from simulations.bench.figures import Figure, Setting, at_most

RESERVE_COMMIT_S, VERIFY_S, QUERY_S, ABOVE, BELOW = 0.010, 3.0, 0.1, 0.01, 0.0
ENTRIES, HISTORIES, DELTA = 100_000, 200, 1e-5
QUERY_ROUNDS = (1, 100, 10_000, 1_000_000)
_FINE = 1e-4
_PAGES = 8192
_AT = "2026-01-01T00:00:00+00:00"
_STEP = PoissonSampledGaussian(0.01, 4.0, 1, "person")
_TERMS = Opening("bench", "person", DELTA, float("inf"), float("inf"), DELTA)


def measure_ledger(
    entries: int = ENTRIES, histories: int = HISTORIES, folder: Path | None = None
) -> tuple[Figure, ...]:
    """Measure a ledger's speed, and its ε against dp_accounting's own composed distributions.

    Args:
        entries: of the ledger that is verified.
        histories: random ones, whose ε is compared.
        folder: on the disk that is meant; None takes the system's temporary folder.
    """
    with TemporaryDirectory(dir=folder) as made:
        root = Path(made)
        charge, (read, opened) = _charge(root), _verify_s(root / "long", entries)
    above, below = _against_pld(histories)
    size: Setting = {"entries": entries}
    many: Setting = {"histories": histories}
    return (
        charge,
        at_most("ledger: verify, CPU", size, read, VERIFY_S),
        at_most("ledger: open for charging, CPU", size, opened, VERIFY_S),
        *(
            at_most("ledger: ε query, one key, CPU", {"rounds": rounds}, _query_s(rounds), QUERY_S)
            for rounds in QUERY_ROUNDS
        ),
        at_most("ε of the ledger above dp-accounting's PLD", many, above, ABOVE, unit=""),
        at_most("ε of the ledger below dp-accounting's PLD", many, below, BELOW, unit=""),
    )


def _charge(folder: Path, rounds: int = 200) -> Figure:
    """Return the median time of a reserve and its commit, beside two bare writes to the disk."""
    charged, bare = [], []
    with Ledger.open(folder / "charged", site="bench") as ledger, _raw(folder / "bare") as file:
        ledger.open_study(_TERMS)
        for number in range(rounds):
            bare.append(_wall_s(partial(_write, file, 2)))
            charged.append(_wall_s(partial(_round, ledger, number)))
    return Figure(
        what="ledger: reserve + commit, durable, median",
        setting={"rounds": rounds},
        kind="most",
        baseline=median(bare),
        tacit=median(charged),
        asked=RESERVE_COMMIT_S,
        note="beside it: two bare writes of 8 KiB, each synced, on the same disk in the same run",
    )


def _round(ledger: Ledger, number: int) -> None:
    ledger.commit(ledger.reserve("bench", _STEP, round=number))


@contextmanager
def _raw(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, times: int) -> None:
    for _ in range(times):
        os.write(descriptor, bytes(_PAGES))
        os.fsync(descriptor)


def _verify_s(path: Path, entries: int) -> tuple[float, float]:
    """Return the CPU time to read and verify a long ledger, and to open it for charging."""
    write_long(path, entries)

    def opened() -> None:
        Ledger.open(path, site="bench").close()

    return _cpu_s(lambda: read_ledger(path)), _cpu_s(opened)


def write_long(path: Path, entries: int) -> None:
    """Write a valid ledger of many rounds at once, in one transaction."""
    file = LedgerFile(path)
    head = Head(0, START.hex())
    with file.turn():
        for number in range(entries):
            entry = _entry(head, number)
            file.insert(entry)
            head = entry.head
    file.close()


def _entry(head: Head, number: int) -> Entry:
    if number == 0:
        return next_entry(head, "genesis", {"ledger": "00" * 16, "site": "bench", "at": _AT})
    if number == 1:
        return next_entry(head, "open", {**opening_to(_TERMS), "at": _AT})
    if number % 2:
        return next_entry(head, "commit", {"reserve": number, "steps": 1, "at": _AT})
    body: dict[str, Any] = {"study": "bench", "run": "r", "round": number, "attempt": 0}
    body |= {"what": "training", "event": to_dict(_STEP), "max_grad_norm": 1.0}
    return next_entry(head, "reserve", {**body, "model_hash": "ab" * 32, "at": _AT})


def _query_s(rounds: int, repeats: int = 5) -> float:
    """Return the median CPU time of an ε that was never asked for before: one key, many rounds."""
    seconds = []
    for repeat in range(repeats):
        sigma = 4.0 + rounds**0.5 * 0.04 + repeat * 1e-3
        event = PoissonSampledGaussian(0.01, sigma, rounds, "person")
        seconds.append(_cpu_s(partial(accountant.epsilon, [event], DELTA)))
    return median(seconds)


def _against_pld(histories: int) -> tuple[float, float]:
    """Return by how much of it the ledger's ε is above and below the composed distributions'.

    The other side composes event by event on cells ten times finer, so it lies nearer to the
    truth, and above it as well: 1e-4 of it is what its own rounding can be.
    """
    ratios = []
    for seed in range(histories):
        history = random_history(seed)
        exact = PLDAccountant(value_discretization_interval=_FINE)
        for event in history:
            exact.compose(to_dp_event(event))
        ratios.append(accountant.epsilon(history, DELTA) / exact.get_epsilon(DELTA))
    return max(0.0, max(ratios) - 1), max(0.0, 1 - _FINE - min(ratios))


def random_history(seed: int) -> list[Event]:
    """Return a few events as studies make them: training of several kinds, and statistics."""
    rng = np.random.default_rng(seed)
    kinds: list[Event] = [
        PoissonSampledGaussian(
            float(rng.choice([0.01, 0.05, 0.25])),
            float(rng.choice([0.8, 1.2, 3.0])),
            int(rng.integers(1, 60)),
            "person",
        ),
        PoissonSampledGaussian(
            float(rng.uniform(0.01, 0.3)),
            float(rng.uniform(1, 4)),
            int(rng.integers(1, 40)),
            "person",
        ),
        Gaussian(float(rng.uniform(5, 20)), int(rng.integers(1, 5)), "person"),
    ]
    return [kinds[index] for index in rng.integers(0, 3, rng.integers(1, 6))]


def _wall_s(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _cpu_s(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
