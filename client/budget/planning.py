"""What a study would cost and give, before any data is touched: noise, rounds, and usefulness."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from client.budget.accounts import ByOnlooker, by_onlooker
from client.budget.asking import Setting
from client.budget.form import document
from client.budget.measured import Measured, neighbours
from common.budget import honest_sites, resolved, round_event, steps_of
from common.privacy import plan
from common.privacy.accountant import epsilon, merge
from common.privacy.events import Event, Unit
from common.privacy.tradeoff import right_of_hundred


@dataclass(frozen=True)
class Planned:
    """One ε, and what it allows.

    Args:
        target: ε of the whole run.
        noise_multiplier: σ; the least that meets the target, or the study's own.
        spent: ε of the run with that σ, against the coordinator and those who help it.
        by: ε of the run against each onlooker.
        rounds: training rounds that the target allows with that σ.
        right_of_hundred: of 100 guesses whether a unit took part, how many can be right.
        noise_to_signal: noise over the run's averaged gradient sum, as length against the most
            that the signal can have; None without a number of persons.
        less_noise: the measured study with the next less noise.
        more_noise: the measured study with the next more noise.
    """

    target: float
    noise_multiplier: float
    spent: float
    by: ByOnlooker
    rounds: int
    right_of_hundred: int
    noise_to_signal: float | None
    less_noise: Measured | None
    more_noise: Measured | None


def planned(setting: Setting, target: float) -> Planned:
    """Plan for one ε of the whole run.

    Raises:
        ConfigError: no noise multiplier meets it.
    """
    study, privacy = setting.study, setting.study.privacy
    unit, delta = cast("Unit", privacy.unit), privacy.target_delta
    if privacy.noise_multiplier is None:
        asked = replace(study, privacy=replace(privacy, target_epsilon=target))
        study = resolved(asked, setting.sites, setting.parameters)
    sigma = float(study.privacy.noise_multiplier or 0)
    one: Event = round_event(study, setting.sites, setting.parameters)
    run: tuple[Event, ...] = (one.with_steps(steps_of(study)),)
    ratio = noise_to_signal(setting, sigma)
    less, more = neighbours(ratio) if ratio is not None else (None, None)
    return Planned(
        target=target,
        noise_multiplier=sigma,
        spent=epsilon(run, delta, unit),
        by=by_onlooker(run, delta, unit, None),
        rounds=plan.affordable_rounds((), one, target, delta, unit) or 0,
        right_of_hundred=right_of_hundred(merge(run, unit)),
        noise_to_signal=ratio,
        less_noise=less,
        more_noise=more,
    )


def plan_form(setting: Setting, rows: tuple[Planned, ...]) -> dict[str, Any]:
    """Return what `tacit budget plan --json` prints."""
    privacy, training = setting.study.privacy, setting.study.training
    return document(
        "plan",
        study=setting.study.name,
        mode=privacy.mode,
        unit=privacy.unit,
        delta=privacy.target_delta,
        sampling_rate=privacy.sampling_rate,
        rounds=training.num_server_rounds,
        steps=steps_of(setting.study),
        sites=setting.sites,
        persons_per_site=setting.persons,
        parameters=setting.parameters,
        warnings=list(warnings(setting)),
        rows=[_row(row) for row in rows],
    )


def warnings(setting: Setting) -> tuple[str, ...]:
    """Say what in a setting should worry."""
    privacy, persons, found = setting.study.privacy, setting.persons, []
    if persons is None:
        return ("without --persons, neither δ nor noise can be held against the data.",)
    if not plan.check_delta(privacy.target_delta, persons):
        found.append(
            f"δ = {privacy.target_delta:g} is above 1/{10 * persons}, the most that is advised "
            f"for {persons} {privacy.unit}s at a site."
        )
    expected = privacy.sampling_rate * persons
    if expected < 1:
        found.append(
            f"a step holds {expected:.2g} {privacy.unit}s of a site on average; most are noise "
            "alone: raise the sampling rate."
        )
    return tuple(found)


def noise_to_signal(setting: Setting, noise_multiplier: float) -> float | None:
    """Return the length of the noise over the most that the signal can have, over the run.

    Summed over sites, a step's signal has at most length C · q · persons; its noise has length
    σC√(sites · P) where each site adds its own, σC√(sites/h · P) where noise is shared. Over T
    steps signal adds up and noise by its square root.
    """
    if setting.persons is None:
        return None
    privacy, sites = setting.study.privacy, setting.sites
    shares = honest_sites(sites) if privacy.mode == "distributed" else 1
    noise = noise_multiplier * math.sqrt(sites / shares * setting.parameters)
    signal = privacy.sampling_rate * setting.persons * sites
    return noise / signal / math.sqrt(steps_of(setting.study))


def _row(row: Planned) -> dict[str, Any]:
    def told(one: Measured | None) -> dict[str, Any] | None:
        return None if one is None else {**asdict(one), "gain_over_chance_kept": one.kept}

    return {
        "target_epsilon": row.target,
        "noise_multiplier": row.noise_multiplier,
        "epsilon_spent": row.spent,
        "epsilon_by_onlooker": {
            "outside_world": row.by.outside,
            "coordinator_with_colluding_sites": row.by.coordinator,
            "colluding_sites": row.by.colluding_sites,
            "secure_aggregation_broken": row.by.broken,
        },
        "rounds_affordable": row.rounds,
        "right_of_100_guesses": row.right_of_hundred,
        "noise_to_signal": row.noise_to_signal,
        "measured_with_less_noise": told(row.less_noise),
        "measured_with_more_noise": told(row.more_noise),
    }
