"""The site's own gate: what the coordinator asks is checked before any data is touched."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from common.config import SitePolicy, Study
from common.errors import PolicyRefused

TASKS = ("statistics", "train", "evaluate")

# EU AI Act, Article 5(1)(f): emotion inference at work and in education is prohibited.
_PROHIBITED = re.compile(
    r"\b(work|workers?|workforce|workplaces?|employ\w*|jobs?|hr|hiring|recruit\w*|staff"
    r"|educat\w*|school\w*|classrooms?|students?|teaching|universit\w*|exams?)\b"
)


@dataclass(frozen=True)
class Ask:
    """What the coordinator wants of this site, in rounds that are keyed together."""

    study: Study
    task: str
    first_round: int
    last_round: int
    cohort: Sequence[str]


def gate(policy: SitePolicy, ask: Ask) -> None:
    """Let a request pass, or refuse it.

    Raises:
        PolicyRefused: the study, its purpose, its privacy, the cohort or the round is not
            within what this site allows.
    """
    gate_study(policy, ask.study)
    _cohort(policy, ask)
    _round(policy, ask)


def gate_study(policy: SitePolicy, study: Study) -> None:
    """Let a study pass, or refuse it, before anything is built for it.

    Raises:
        PolicyRefused: its purpose, privacy, unit, clip, δ, folds or classes are not within what
            this site allows.
    """
    _purpose(policy, study)
    _privacy(policy, study)
    _data(policy, study)


def _purpose(policy: SitePolicy, study: Study) -> None:
    if _PROHIBITED.search(study.purpose.casefold().replace("_", " ")):
        raise PolicyRefused(
            f"The purpose {study.purpose!r} is emotion inference at work or in education, "
            "which the EU AI Act, Article 5(1)(f), prohibits."
        )
    if study.purpose not in policy.purposes:
        allowed = ", ".join(policy.purposes) or "none"
        raise PolicyRefused(
            f"The purpose {study.purpose!r} is not one that {policy.site} allows ({allowed})."
        )


def _privacy(policy: SitePolicy, study: Study) -> None:
    if study.privacy.mode == "none" and not policy.allow_without_privacy:
        raise PolicyRefused(
            f"The study trains without differential privacy; {policy.site} does not allow that."
        )
    if study.privacy.mode != "none" and study.normalise == "federated":
        raise PolicyRefused(
            "normalise=federated releases exact statistics of the training clips; "
            "under differential privacy use normalise=none or normalise=person."
        )
    if study.privacy.mode != "none":
        _guarantee(policy, study)


def _guarantee(policy: SitePolicy, study: Study) -> None:
    """Hold a private study to the site's unit and clip, and δ to what can protect anybody."""
    if study.privacy.unit != policy.unit:
        raise PolicyRefused(
            f"The study's ε speaks of a {study.privacy.unit}; {policy.site} keeps its budget by "
            f"{policy.unit}."
        )
    if study.privacy.max_grad_norm > policy.max_grad_norm:
        raise PolicyRefused(
            f"The study clips at C = {study.privacy.max_grad_norm:g}; {policy.site} allows at most "
            f"{policy.max_grad_norm:g}."
        )
    if study.privacy.unit == "record" and study.normalise == "person":
        raise PolicyRefused("normalise=person mixes a person's records; use unit=person with it.")
    units = policy.declared_persons if policy.unit == "person" else policy.declared_records
    largest = max(study.privacy.target_delta, policy.delta)
    if units < 1 or largest > 1 / units:
        raise PolicyRefused(
            f"δ = {largest:g} is above 1/{max(units, 1)}, the {policy.unit}s that {policy.site} "
            "declares: it would allow one to be given away whole."
        )


def _data(policy: SitePolicy, study: Study) -> None:
    if study.split.folds not in (0, policy.folds):
        raise PolicyRefused(
            f"The study deals persons into {study.split.folds} folds; {policy.site} allows "
            f"{policy.folds}: other folds would evaluate persons who trained."
        )
    unknown = set(policy.labels) - set(study.classes)
    if unknown:
        raise PolicyRefused(
            f"The study has no class for {', '.join(sorted(unknown))}, which {policy.site} has."
        )


def _cohort(policy: SitePolicy, ask: Ask) -> None:
    fewest = max(policy.min_sites, ask.study.secure_aggregation.min_sites)
    if len(set(ask.cohort)) < fewest:
        raise PolicyRefused(
            f"The cohort has {len(set(ask.cohort))} sites; {policy.site} joins no sum of fewer "
            f"than {fewest}."
        )


def _round(policy: SitePolicy, ask: Ask) -> None:
    if ask.task not in TASKS:
        raise PolicyRefused(f"There is no task {ask.task!r}; expected one of {', '.join(TASKS)}.")
    most = min(policy.max_rounds, ask.study.training.num_server_rounds)
    if not 0 <= ask.first_round <= ask.last_round <= most:
        raise PolicyRefused(
            f"Rounds {ask.first_round} to {ask.last_round} are outside the {most} rounds "
            f"of the study that {policy.site} joins."
        )
