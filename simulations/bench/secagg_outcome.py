"""`tacit bench secagg`: what is measured, in which order, and what was asked of it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

from simulations.bench import ckks
from simulations.bench.figures import Figure, Outcome, faster
from simulations.bench.growth import Point, over_parameters, over_sites, point
from simulations.bench.machine import facts
from simulations.bench.secagg import of_large, of_masks, of_rounds, of_sharing
from simulations.bench.tacit_secagg import secure_sum, warm_up

Watch = Callable[[str], None]
Jobs = dict[str, Callable[[], list[Figure]]]
PACKAGES = ("flwr", "cryptography", "numpy", "tenseal")
CKKS_NOTE = "CKKS as NVFlare uses it: TenSEAL, degree 8192, 60+40+40 bits, one key for all clients."


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        sites: cohorts whose rounds are measured.
        parameters: of the update.
        repetitions: rounds of either side, alternating; of more than 20 sites one is played.
        share_sites: cohort whose SHARE stage is measured.
        large_sites: cohort of the large update; 0 leaves it out.
        large_parameters: of the large update.
        grow_parameters: sizes of the curve over parameters, with the first of `sites`.
        grow_sites: cohorts of the curve over sites.
        grow_update: parameters of the curve over sites.
    """

    sites: tuple[int, ...] = (10, 50)
    parameters: int = 1_000_000
    repetitions: int = 2
    share_sites: int = 100
    large_sites: int = 0
    large_parameters: int = 10_000_000
    grow_parameters: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    grow_sites: tuple[int, ...] = (5, 10, 20, 50)
    grow_update: int = 100_000


QUICK = Plan(
    sites=(4,),
    parameters=6000,
    repetitions=1,
    share_sites=4,
    grow_parameters=(1000, 10_000),
    grow_sites=(4, 10),
    grow_update=1000,
)
"""Says whether everything runs; nothing was asked at these sizes."""


def plan(
    sites: tuple[int, ...], parameters: int, repetitions: int, *, large: bool, quick: bool
) -> Plan:
    """Return what to measure, for what was typed; 0 and () take the plan's own."""
    chosen = QUICK if quick else Plan()
    return replace(
        chosen,
        sites=sites or chosen.sites,
        parameters=parameters or chosen.parameters,
        repetitions=repetitions or chosen.repetitions,
        large_sites=50 if large else 0,
    )


def steps(chosen: Plan) -> int:
    """Return how often `run` will say what it is at."""
    return len(_jobs(chosen)) + len(chosen.grow_parameters) + 2 * len(chosen.grow_sites)


def run(chosen: Plan, watch: Watch) -> Outcome:
    """Measure everything, one thing after the other.

    Args:
        chosen: what to measure.
        watch: is told before each step what it is.
    """
    machine = facts(PACKAGES)
    warm_up()
    figures = []
    for text, job in _jobs(chosen).items():
        watch(text)
        figures += job()
    return Outcome(
        "secagg",
        "Secure aggregation: CPU time and bytes beside Flower's SecAgg+ in the same process",
        "baseline",
        machine,
        {name: _listed(value) for name, value in asdict(chosen).items()},
        figures,
        [
            *over_parameters(_over_parameters(chosen, watch)),
            *over_sites(_over_sites(chosen, watch, lossy=False)),
            *over_sites(_over_sites(chosen, watch, lossy=True), "10 % dropped"),
        ],
    )


def _jobs(chosen: Plan) -> Jobs:
    """Return what makes the table's rows, by what a person is told meanwhile."""
    d = chosen.parameters
    jobs: Jobs = {"masks against raw AES": partial(of_masks, d)}
    for n in chosen.sites:
        jobs[f"rounds of {n} sites, {d:,} parameters"] = partial(
            of_rounds, n, d, chosen.repetitions
        )
    if chosen.large_sites:
        n, size = chosen.large_sites, chosen.large_parameters
        jobs[f"clients of {n} sites, {size:,} parameters"] = partial(of_large, n, size)
    jobs[f"share stage of {chosen.share_sites} sites"] = partial(of_sharing, chosen.share_sites)
    jobs["CKKS"] = partial(against_ckks, chosen.sites[0], d, chosen.repetitions)
    return jobs


def against_ckks(sites: int, parameters: int, repetitions: int) -> list[Figure]:
    """Return a client's cost beside that of CKKS, or figures that say why there is none.

    Args:
        sites: of this project's round; CKKS costs the same whatever they are.
        parameters: of the update.
        repetitions: of either side, alternating.
    """
    names = ("client against CKKS: encrypt", "client against CKKS: bytes")
    setting = {"sites": sites, "parameters": parameters}
    least = (100.0, 20.0) if (sites, parameters) == (10, 1_000_000) else (None, None)
    tenseal = ckks.load()
    if tenseal is None:
        return [
            Figure(name, setting, "faster", unit, asked=asked, note=ckks.MISSING)
            for name, unit, asked in zip(names, "sB", least, strict=True)
        ]
    pairs = [
        (ckks.client(tenseal, parameters), secure_sum(sites, parameters))
        for _ in range(repetitions)
    ]
    sealed = min(theirs.seal_s for theirs, _ in pairs)
    opened = min(theirs.open_s for theirs, _ in pairs)
    masked = min(ours.client_mask_s for _, ours in pairs)
    sizes = float(pairs[0][0].upload_bytes), float(pairs[0][1].upload_bytes)
    found = [
        faster(names[0], setting, (sealed, masked), least[0]),
        faster("client against CKKS: encrypt, decrypt", setting, (sealed + opened, masked)),
        faster(names[1], setting, sizes, least[1], "B"),
    ]
    return [replace(figure, note=CKKS_NOTE) for figure in found]


def _over_parameters(chosen: Plan, watch: Watch) -> list[Point]:
    found = []
    for d in chosen.grow_parameters:
        watch(f"growth: {chosen.sites[0]} sites, {d:,} parameters")
        found.append(point(chosen.sites[0], d, with_ckks=True))
    return found


def _over_sites(chosen: Plan, watch: Watch, *, lossy: bool) -> list[Point]:
    found = []
    for n in chosen.grow_sites:
        lost = max(1, n // 10) if lossy else 0
        watch(f"growth: {n} sites, {lost} lost, {chosen.grow_update:,} parameters")
        found.append(point(n, chosen.grow_update, lost))
    return found


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
