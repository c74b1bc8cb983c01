"""What a study's steps cost, as events: from the study and the number of sites alone.

Coordinator and sites compute the same noise multiplier from the same study, so it is public
and constant; a study may also give it outright.
"""

from dataclasses import replace
from functools import lru_cache
from typing import cast

from common.config import Privacy, Study
from common.errors import PrivacyError
from common.privacy import accountant, plan
from common.privacy.events import DiscreteGaussianShare, Event, PoissonSampledGaussian, Unit
from common.privacy.shares import ShareGrid, choose_grid

_RAISE = 1.002


def resolved(study: Study, num_sites: int, parameters: int) -> Study:
    """The study with its noise multiplier: as given, or the least that meets its target.

    Args:
        study: with or without a noise multiplier.
        num_sites: sites in the roster.
        parameters: trained values of the model.

    Raises:
        PrivacyError: the given noise multiplier costs more than target_epsilon.
        ConfigError: no noise multiplier meets the target.
    """
    privacy = study.privacy
    if privacy.mode == "none":
        return study
    if privacy.noise_multiplier is None:
        sigma = _calibrated(privacy, steps_of(study), num_sites, parameters)
        return replace(study, privacy=replace(privacy, noise_multiplier=sigma))
    events = [round_event(study, num_sites, parameters).with_steps(steps_of(study))]
    spent = accountant.epsilon(events, privacy.target_delta, cast("Unit", privacy.unit))
    if not spent <= privacy.target_epsilon:
        raise PrivacyError(
            f"privacy.noise_multiplier {privacy.noise_multiplier:g} costs ε = {spent:.3g} per "
            f"{privacy.unit} over the run, above privacy.target_epsilon = "
            f"{privacy.target_epsilon:g}. Raise one of them, or leave the noise multiplier out."
        )
    return study


def steps_of(study: Study) -> int:
    """DP steps of a whole run at one site."""
    rounds = study.training.num_server_rounds
    return rounds * (study.training.local_steps if study.privacy.mode == "local" else 1)


def round_event(
    study: Study, num_sites: int, parameters: int
) -> PoissonSampledGaussian | DiscreteGaussianShare:
    """What one training round of a resolved study is to a site's ledger."""
    privacy = study.privacy
    assert_resolved(privacy)
    event = _event(privacy, float(privacy.noise_multiplier or 0), num_sites, parameters)
    return event.with_steps(steps_of(study) // study.training.num_server_rounds)


def grid_of(study: Study, num_sites: int, parameters: int) -> ShareGrid:
    """The grid on which sites share noise, for a resolved study in distributed mode."""
    assert_resolved(study.privacy)
    return choose_grid(
        noise_multiplier=float(study.privacy.noise_multiplier or 0),
        parameters=parameters,
        num_sites=num_sites,
        honest=honest_sites(num_sites),
    )


def contributors(num_sites: int) -> int:
    """t = floor(2n/3) + 1: sites of a roster of n without which noise in shares is too little."""
    return (2 * num_sites) // 3 + 1


def honest_sites(num_sites: int) -> int:
    """h = t - n_c: honest contributors that every sum of n sites is sure to have.

    t sites must contribute (`common.sums.policy_for` sees to it), and fewer than n/3 collude.
    """
    return contributors(num_sites) - (num_sites - 1) // 3


def assert_resolved(privacy: Privacy) -> None:
    """Refuse a study whose noise multiplier is still open.

    Raises:
        PrivacyError: it is.
    """
    if privacy.noise_multiplier is None:
        raise PrivacyError("The study's noise multiplier is open: it must be resolved first.")


def _event(
    privacy: Privacy, sigma: float, num_sites: int, parameters: int
) -> PoissonSampledGaussian | DiscreteGaussianShare:
    unit = cast("Unit", privacy.unit)
    if privacy.mode == "local":
        return PoissonSampledGaussian(privacy.sampling_rate, sigma, 1, unit)
    honest = honest_sites(num_sites)
    grid = choose_grid(
        noise_multiplier=sigma, parameters=parameters, num_sites=num_sites, honest=honest
    )
    return DiscreteGaussianShare(
        privacy.sampling_rate,
        sigma,
        1,
        unit,
        honest,
        contributors(num_sites),
        grid.clip_units,
        parameters,
    )


@lru_cache(maxsize=64)
def _calibrated(privacy: Privacy, steps: int, num_sites: int, parameters: int) -> float:
    target, delta = privacy.target_epsilon, privacy.target_delta
    sigma = plan.calibrate(target, delta, privacy.sampling_rate, steps)

    def spent(sigma: float) -> float:
        events: list[Event] = [_event(privacy, sigma, num_sites, parameters).with_steps(steps)]
        return accountant.epsilon(events, delta, cast("Unit", privacy.unit))

    while privacy.mode == "distributed" and spent(sigma) > target:
        sigma = round(sigma * _RAISE, 4)
    return sigma
