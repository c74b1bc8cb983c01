"""The site's own gate: what the coordinator asks is checked before any data is touched."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from client.policy.purpose import gate_purpose
from client.policy.refusing import refused
from common.config import SitePolicy, Study
from common.inputs import encoders_of
from common.rules import SUITES
from common.targets import counts_classes

TASKS = ("statistics", "train", "evaluate")


@dataclass(frozen=True)
class Ask:
    """What the coordinator wants of this site, in rounds that are keyed together."""

    study: Study
    task: str
    first_round: int
    last_round: int
    cohort: Sequence[str]


def gate(policy: SitePolicy, ask: Ask, today: date) -> None:
    """Let a request pass, or refuse it.

    Args:
        policy: the site's.
        ask: what the coordinator wants.
        today: decides whether the ethics approval still holds.

    Raises:
        PolicyRefused: the study, its purpose, its privacy, the cohort or the round is not
            within what this site allows.
    """
    gate_study(policy, ask.study, today)
    _cohort(policy, ask)
    _round(policy, ask)


def gate_study(policy: SitePolicy, study: Study, today: date) -> None:
    """Let a study pass, or refuse it, before anything is built for it.

    Raises:
        PolicyRefused: its purpose, name, privacy, unit, clip, ε, δ, suite, folds, classes or
            encoders are not within what this site allows, or no ethics approval holds.
    """
    gate_purpose(policy, study)
    _name(policy, study)
    _ethics(policy, today)
    _privacy(policy, study)
    _suite(policy, study)
    _data(policy, study)
    _encoders(policy, study)


def shut_by(policy: SitePolicy, today: date) -> tuple[str, ...]:
    """The keys of a policy that refuse every study as they stand."""
    approval = policy.ethics
    is_over = bool(approval.reference) and date.fromisoformat(approval.until) < today
    found = {
        "studies": not policy.studies,
        "purposes": not policy.purposes,
        "ethics": not approval.reference,
        "ethics.until": is_over,
        "max_epsilon": policy.max_epsilon <= 0 and not policy.allow_without_privacy,
    }
    return tuple(key for key, is_shut in found.items() if is_shut)


def _name(policy: SitePolicy, study: Study) -> None:
    if study.name not in policy.studies:
        raise refused(
            f"The study {study.name!r} is not one that {policy.site} allows "
            f"({', '.join(policy.studies) or 'none'}).",
            "studies",
            "list it there once somebody has read it.",
        )


def _ethics(policy: SitePolicy, today: date) -> None:
    """Hold the site to its approval, from the first day to the last."""
    approval = policy.ethics
    if not approval.reference:
        raise refused(
            f"{policy.site} names no ethics approval for its recordings.",
            "ethics",
            "give its reference and until.",
        )
    if date.fromisoformat(approval.until) < today:
        raise refused(
            f"The ethics approval {approval.reference} ended on {approval.until}.",
            "ethics.until",
            "have it renewed, then write the new day.",
        )


def _suite(policy: SitePolicy, study: Study) -> None:
    asked = study.secure_aggregation.suite
    if SUITES.index(asked) < SUITES.index(policy.suite):
        raise refused(
            f"The study protects the secure sum by {asked}; {policy.site} asks for {policy.suite}.",
            "suite",
            f"ask the coordinator to set secure_aggregation.suite={policy.suite}.",
        )


def _privacy(policy: SitePolicy, study: Study) -> None:
    if study.privacy.mode == "none" and not policy.allow_without_privacy:
        raise refused(
            f"The study trains without differential privacy; {policy.site} does not allow that.",
            "allow_without_privacy",
            "ask the coordinator to set privacy.mode to local or distributed.",
        )
    if study.privacy.mode != "none" and study.normalise == "federated":
        raise refused(
            "normalise=federated releases exact statistics of the training clips.",
            "no key allows it",
            "under differential privacy the study needs normalise=none or normalise=person.",
        )
    if study.privacy.mode != "none" and counts_classes(study):
        raise refused(
            "training.balance_over=all_sites releases exact counts of the training clips' classes.",
            "no key allows it",
            "under differential privacy the study needs training.balance_over=site.",
        )
    if study.privacy.mode != "none":
        _guarantee(policy, study)
        _most(policy, study)


def _guarantee(policy: SitePolicy, study: Study) -> None:
    """Hold a private study to the site's unit, and δ to what can protect anybody."""
    if study.privacy.unit != policy.unit:
        raise refused(
            f"The study's ε speaks of a {study.privacy.unit}; {policy.site} keeps its budget by "
            f"{policy.unit}.",
            "unit",
            f"ask the coordinator to set privacy.unit={policy.unit}.",
        )
    if study.privacy.unit == "record" and study.normalise == "person":
        raise refused(
            "normalise=person mixes a person's records, whose ε is kept record by record.",
            "unit",
            "use unit=person with it.",
        )
    units = policy.declared_persons if policy.unit == "person" else policy.declared_records
    largest = max(study.privacy.target_delta, policy.delta)
    if units < 1 or largest > 1 / units:
        raise refused(
            f"δ = {largest:g} is above 1/{max(units, 1)}, the {policy.unit}s that {policy.site} "
            "declares: it would allow one to be given away whole.",
            f"delta, declared_{policy.unit}s",
            "δ should be at most a tenth of that, here and in the study.",
        )


def _most(policy: SitePolicy, study: Study) -> None:
    """Hold a private study to the site's clip, and to its cap over one study where it has one."""
    privacy = study.privacy
    if privacy.max_grad_norm > policy.max_grad_norm:
        raise refused(
            f"The study clips at C = {privacy.max_grad_norm:g}; {policy.site} allows at most "
            f"{policy.max_grad_norm:g}.",
            "max_grad_norm",
            "ask the coordinator for a smaller privacy.max_grad_norm, or raise it there.",
        )
    cap = policy.max_epsilon_per_study
    if cap is not None and privacy.target_epsilon > cap:
        raise refused(
            f"The study may spend ε = {privacy.target_epsilon:g}; {policy.site} allows at most "
            f"{cap:g} for one study.",
            "max_epsilon_per_study",
            "ask the coordinator for a smaller privacy.target_epsilon, or raise it there.",
        )


def _data(policy: SitePolicy, study: Study) -> None:
    if study.split.folds not in (0, policy.folds):
        raise refused(
            f"The study deals persons into {study.split.folds} folds; {policy.site} allows "
            f"{policy.folds}: other folds would evaluate persons who trained.",
            "folds",
            "it may change only where no model was trained with the old one.",
        )
    unknown = set(policy.labels) - set(study.classes)
    reads_no_class = not study.classes and bool(study.dimensions or study.labels)
    if unknown and not reads_no_class:
        raise refused(
            f"The study has no class for {', '.join(sorted(unknown))}, which {policy.site} has.",
            "labels",
            "ask for a study with these classes, or leave those clips out of the manifest.",
        )


def _encoders(policy: SitePolicy, study: Study) -> None:
    """Hold the frozen encoders of the site's modalities to those that it has looked at."""
    for name, sha256 in encoders_of(study, policy.modalities or None).items():
        if name not in policy.encoders:
            raise refused(
                f"The study reads recordings with the frozen encoder {name!r}, which "
                f"{policy.site} does not have ({', '.join(policy.encoders) or 'none'}).",
                "encoders",
                "name its folder there; `tacit data encoder FOLDER` says what it holds.",
            )
        own = policy.encoders[name].sha256
        if own and own != sha256:
            raise refused(
                f"The study's encoder {name} has sha256 {sha256}; {policy.site} accepts {own}.",
                f"encoders.{name}.sha256",
                "put the other files there once somebody has looked at them.",
            )


def _cohort(policy: SitePolicy, ask: Ask) -> None:
    fewest = max(policy.min_sites, ask.study.secure_aggregation.min_sites)
    if len(set(ask.cohort)) < fewest:
        raise refused(
            f"The cohort has {len(set(ask.cohort))} sites; {policy.site} joins no sum of fewer "
            f"than {fewest}.",
            "min_sites",
            "wait until the roster has more sites.",
        )


def _round(policy: SitePolicy, ask: Ask) -> None:
    if ask.task not in TASKS:
        raise refused(
            f"There is no task {ask.task!r}; expected one of {', '.join(TASKS)}.",
            "no key allows it",
            "coordinator and site may run different versions of Tacit.",
        )
    most = min(policy.max_rounds, ask.study.training.num_server_rounds)
    if not 0 <= ask.first_round <= ask.last_round <= most:
        raise refused(
            f"Rounds {ask.first_round} to {ask.last_round} are outside the {most} rounds "
            f"of the study that {policy.site} joins.",
            "max_rounds",
            "raise it there, or ask the coordinator for fewer rounds.",
        )
