"""An audit of a site's own DP training: canaries and empty steps through the very code that trains.

No recording is read and no budget is spent: sites, persons and ledgers are thrown away.
"""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import count
from typing import cast

import numpy as np
from numpy.typing import NDArray

from client.audit_people import FAR_ABOVE, People, people_for
from client.audit_site import (
    NAMES,
    AuditedSites,
    PrivateEvent,
    Vector,
    audited_sites,
    audited_study,
)
from client.data.arrays import SiteData
from common.budget import resolved, round_event
from common.config import Modality, Model, Privacy, Study
from common.errors import PrivacyError, TooFewSites
from common.models.registry import build
from common.privacy import accountant, audit
from common.privacy.audit import Check, Coins, Matrix, Told
from common.privacy.events import Gaussian, Unit
from common.sums import parameters_of

SMALL = Study(
    name="small",
    classes=("one", "two", "three", "four"),
    modalities={
        "features_first": Modality(options={"dim": 12}),
        "features_second": Modality(options={"dim": 9}),
    },
    device="cpu",
    model=Model(hidden=0, fusion="late"),
    privacy=Privacy(mode="local", sampling_rate=0.25, noise_multiplier=1.0, target_epsilon=1000.0),
)
"""What is audited where no study is named: small, so that it takes seconds."""
QUIET = 0.05
"""Noise multiplier where not noise is looked at but what the noise would hide."""
MOST_STEPS = 400
QUIET_STEPS = 60
SAMPLING_STEPS = 64
ACCOUNTED_STEPS = 4
"""Steps after which the ledger is asked; with many more of a small σ, ε is beyond words."""

Entropy = Callable[[int], bytes]
Watch = Callable[[int, int], object]
"""Called with steps done and steps in all."""


@dataclass(frozen=True)
class AuditReport:
    """What an audit of one study in one mode showed.

    Args:
        study: its name.
        mode: "local" or "distributed".
        unit: whom ε speaks about.
        noise_multiplier: σ of the study.
        delta: δ at which the figures of ε below hold.
        mu_lower: lower bound on μ of one step in which everybody is sampled, at 99.9 %.
        mu_charged: μ = 1/σ of that step.
        epsilon_lower: ε that a mechanism told apart with mu_lower has at least.
        epsilon_charged: ε that such a step is charged.
        checks: each with its bound and its verdict.
        seconds: how long it took.
    """

    study: str
    mode: str
    unit: str
    noise_multiplier: float
    delta: float
    mu_lower: float
    mu_charged: float
    epsilon_lower: float
    epsilon_charged: float
    checks: tuple[Check, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)


def modes_of(study: Study | None) -> tuple[Study, ...]:
    """Return what is audited: a study in its own mode, or the small one in both modes."""
    if study is None:
        return tuple(in_mode(SMALL, mode) for mode in ("local", "distributed"))
    return (study if study.privacy.mode != "none" else in_mode(study, "local"),)


def in_mode(study: Study, mode: str) -> Study:
    """Return a study in another mode of privacy."""
    return replace(study, privacy=replace(study.privacy, mode=mode))


def audit_study(
    study: Study,
    entropy: Entropy,
    *,
    repetitions: int = 0,
    watch: Watch = lambda _done, _all: None,
) -> AuditReport:
    """Audit the DP step of a study through the training path of a site.

    Args:
        study: under privacy.
        entropy: where synthetic persons and coins come from.
        repetitions: coin tosses of each canary; 0 takes as many as find half the noise.
        watch: is told of each step.

    Raises:
        ConfigError: the study is none, or there are too few repetitions.
        PrivacyError: a step was not charged, clipping refuses a layer, or the sites themselves
            refuse to go on.
    """
    began, draw = time.monotonic(), np.random.default_rng(list(entropy(32)))
    study = resolved(study, len(NAMES), parameters_of(study))
    course = _course(study, draw, repetitions, watch)
    try:
        event, told, checks = _loud(course)
        checks = (*checks, _carried(course), *_sampled(course))
    except TooFewSites as error:
        raise PrivacyError(f"The audit's own sites refuse to go on: {error}") from error
    delta, unit = study.privacy.target_delta, cast("Unit", study.privacy.unit)
    return AuditReport(
        study.name,
        study.privacy.mode,
        unit,
        event.noise_multiplier,
        delta,
        told.mu_lower,
        told.mu_claimed,
        epsilon_of_mu(told.mu_lower, delta),
        accountant.epsilon([event], delta, unit),
        checks,
        time.monotonic() - began,
    )


def epsilon_of_mu(mu: float, delta: float) -> float:
    """Return ε at δ of the Gaussian mechanism that is told apart with μ."""
    if not math.isfinite(mu):
        return math.inf
    return accountant.epsilon([Gaussian(1 / mu, 1, "person")], delta) if mu > 0 else 0.0


@dataclass(frozen=True)
class _Course:
    """What is audited, with whom, for how long.

    Args:
        study: under privacy, resolved.
        max_grad_norm: the study's clipping norm, or less where canaries would not reach it.
        people: who takes part.
        steps: coin tosses of each canary.
        draw: where coins come from.
        tick: is called after each step.
    """

    study: Study
    max_grad_norm: float
    people: People
    steps: int
    draw: np.random.Generator
    tick: Callable[[], object]

    def sites(
        self, sampling_rate: float, noise_multiplier: float
    ) -> AbstractContextManager[AuditedSites]:
        """Make sites for one series of steps."""
        study = audited_study(
            self.study,
            sampling_rate=sampling_rate,
            noise_multiplier=noise_multiplier,
            max_grad_norm=self.max_grad_norm,
        )
        return audited_sites(study, self.people.nobody())

    def step(self, sites: AuditedSites, data: SiteData) -> Vector:
        """Play one step."""
        found = sites.step(data)
        self.tick()
        return found

    def tossed(self, sites: AuditedSites, steps: int) -> tuple[Matrix, Coins]:
        """Play steps in which a coin decides for each canary; return scores and coins."""
        coin_NM = self.draw.random((steps, self.people.canaries)) < 0.5
        basis_PK = self.people.basis_KP.T
        steps_played = (self.step(sites, self.people.with_canaries(c)) for c in coin_NM)
        return np.stack([vector_P @ basis_PK for vector_P in steps_played]), coin_NM


def _course(study: Study, draw: np.random.Generator, repetitions: int, watch: Watch) -> _Course:
    """Draw the people, set the clipping norm that they reach, and count the steps."""
    privacy = study.privacy
    sigma = float(privacy.noise_multiplier or 0)
    plain = audited_study(study, sampling_rate=1.0, noise_multiplier=sigma, max_grad_norm=1.0)
    people = people_for(plain, build(plain), draw)
    steps = repetitions or min(MOST_STEPS, audit.steps_needed(sigma, people.canaries))
    quiet = QUIET_STEPS + (SAMPLING_STEPS if privacy.sampling_rate < 1 else 0)
    done, total = count(1), audit.STEPS + steps + quiet
    return _Course(
        study,
        min(privacy.max_grad_norm, people.raw_norm / FAR_ABOVE),
        people,
        steps,
        draw,
        lambda: watch(next(done), total),
    )


def _loud(course: _Course) -> tuple[PrivateEvent, Told, tuple[Check, ...]]:
    """Play the study's own noise: noise alone, then canaries; then look at ledger and masks."""
    with course.sites(1.0, float(course.study.privacy.noise_multiplier or 0)) as sites:
        noise_SP = _empty_steps(course, sites, ACCOUNTED_STEPS)
        accounted = _accounted(sites)
        rest_SP = _empty_steps(course, sites, audit.STEPS - ACCOUNTED_STEPS)
        noise_SP = np.concatenate([noise_SP, rest_SP])
        score_NK, coin_NM = course.tossed(sites, course.steps)
        event, norm = sites.charged()
        noise_multiplier = event.noise_multiplier
        told = audit.told(score_NK, coin_NM, noise_multiplier=noise_multiplier, max_grad_norm=norm)
        checks = (
            *audit.noise_checks(noise_SP, noise_multiplier * norm),
            *audit.told_checks(told),
            accounted,
            _masked(sites),
        )
    return event, told, checks


def _empty_steps(course: _Course, sites: AuditedSites, steps: int) -> NDArray[np.float32]:
    """Play steps in which nobody takes part: noise alone."""
    return np.stack([course.step(sites, course.people.nobody()) for _ in range(steps)])


def _carried(course: _Course) -> Check:
    with course.sites(1.0, QUIET) as sites:
        return audit.carry_check(*course.tossed(sites, QUIET_STEPS))


def _sampled(course: _Course) -> tuple[Check, ...]:
    """See who joined which step, through little noise, at the study's own rate."""
    rate, people = course.study.privacy.sampling_rate, course.people
    if rate == 1:
        return ()
    everybody = people.with_canaries(np.ones(people.canaries, dtype=np.bool_), ordinary=False)
    with course.sites(rate, QUIET) as sites:
        steps = (course.step(sites, everybody) for _ in range(SAMPLING_STEPS))
        score_NK = np.stack([vector_P @ people.basis_KP.T for vector_P in steps])
    share_NM = score_NK @ np.linalg.pinv(people.pull_MK) / course.max_grad_norm
    return audit.sampling_checks(share_NM > 0.5, rate)


def _accounted(sites: AuditedSites) -> Check:
    """Hold the ledger, opened anew, against the number of steps that were released."""
    study = sites.study
    delta, unit = study.privacy.target_delta, cast("Unit", study.privacy.unit)
    event = round_event(study, len(NAMES), parameters_of(study)).with_steps(sites.round)
    with sites.opened_ledger() as ledger:
        spent = ledger.spent(unit, delta, study.name)
    return Check(
        "accounting",
        f"ε in the ledger after {sites.round} steps of everybody, opened anew",
        spent,
        "at least",
        accountant.epsilon([event], delta, unit),
        "the ledger forgot steps that were released",
    )


def _masked(sites: AuditedSites) -> Check:
    """Try to read what sites send to a secure sum: one message, or two of one site."""
    first, second = sites.uploads(), sites.uploads()
    tried = [*first.values(), *second.values()]
    tried += [words_W - first[site] for site, words_W in second.items() if site in first]
    return Check(
        "masking",
        f"messages of {len(first)} sites, alone or in pairs, that can be read without a sum",
        float(sum(map(sites.is_readable, tried))) if first and second else math.inf,
        "at most",
        0.0,
        "what a site sends can be read: its own share of the noise is all that hides it",
    )
