"""What a run's folder says, put together for people: figures, accounts, settings."""

import json
from pathlib import Path
from typing import cast

from client.folder import open_site
from common.affect import is_told, read_described
from common.budget import steps_of
from common.config import Study
from common.errors import ConfigError, LedgerError
from common.privacy import accountant
from common.privacy.events import Event, ExactThroughSecureSum, Unit, from_dict
from common.privacy.ledger import Ledger
from common.settings import load_study
from common.sums import parameters_of
from common.targets import targets_of
from simulations.report import Ceiling, RoundPoint, RunResult, SiteAccount
from simulations.studies import RunFolder, site_names

_LIMITS = (
    "A simulation on one machine: the sites' folders lie side by side, so nothing here protects "
    "one site from another.",
    "ε speaks of the training persons; the figures above are exact counts over persons who did "
    "not train, and are not differentially private.",
    "A person who is treated at two sites spends at both.",
)
_REPRODUCIBLE = (
    "Private noise was drawn from a seed so that the run can be repeated: this run protects "
    "nobody, and its ε is that of the design alone."
)


def read_result(
    run: RunFolder,
    engine: str,
    without: RunFolder | None = None,
    ceiling: Ceiling | None = None,
) -> RunResult:
    """The result of a finished run.

    Args:
        run: its folder.
        engine: how it was run, for the record.
        without: the same study run without privacy, to stand beside it.
        ceiling: the best that can be reached, where it is known.

    Raises:
        ConfigError: the run has not finished, or nobody was kept for evaluation.
    """
    study = load_study(str(run.study))
    rounds = read_rounds(run)
    sites = tuple(_account(run, name, study, rounds) for name in site_names(run))
    started, ended = run.progress()[0]["time"], run.progress()[-1]["time"]
    return RunResult(
        study=study.name,
        engine={"flwr": "flwr run"}.get(engine, engine),
        mode=study.privacy.mode,
        rounds=rounds,
        sites=sites,
        rounds_without_privacy=read_rounds(without) if without else (),
        views=rounds[-1].found.views,
        ceiling=ceiling,
        released_exactly=_exact(run),
        settings=_settings(study),
        limits=(*_absences(run), *_limits(run)),
        parameters=parameters_of(study),
        seconds=ended - started,
    )


def with_ceiling(corpus: Path) -> Ceiling | None:
    """The best that a corpus allows, where its maker wrote it down."""
    path = corpus / "corpus.json"
    if not path.is_file():
        return None
    known = json.loads(path.read_text(encoding="utf-8"))
    return Ceiling(float(known["ceiling_uar"]), "an observer who reads the cues that were drawn")


def is_evaluated(run: RunFolder) -> bool:
    """Whether some round of a run was evaluated."""
    return any(is_told(line) for line in run.progress())


def read_rounds(run: RunFolder) -> tuple[RoundPoint, ...]:
    """Every evaluated round of a run.

    Raises:
        ConfigError: none was evaluated.
    """
    lines = [line for line in run.progress() if is_told(line)]
    if not lines:
        raise ConfigError(
            f"{run.root} has no evaluated round: the study keeps nobody for evaluation "
            "(set split.folds, or give the manifests a split column)."
        )
    return tuple(RoundPoint(int(line["round"]), read_described(line)) for line in lines)


def _account(
    run: RunFolder, name: str, study: Study, rounds: tuple[RoundPoint, ...]
) -> SiteAccount:
    """One site's account, from its own ledger."""
    site = open_site(run.federation / "sites" / name)
    private = study.privacy.mode != "none"
    unit, delta = cast("Unit", study.privacy.unit), study.privacy.target_delta
    try:
        with Ledger.open(site.ledger, site=name) as ledger:
            training = _training_events(ledger)
            spent = ledger.spent(unit, delta)
    except LedgerError:
        training, spent, verified = (), None, False
    else:
        verified = True
    curve = tuple((p.round, _epsilon(training[: p.round], unit, delta)) for p in rounds)
    return SiteAccount(
        name=name,
        persons=site.policy.declared_persons,
        clips=site.policy.declared_records,
        modalities=site.policy.modalities,
        rounds=len(training),
        unit=unit,
        epsilon_by_round=curve if private and verified else (),
        epsilon_spent=spent if private else None,
        epsilon_limit=site.policy.max_epsilon if private else None,
        delta=delta if private else None,
        ledger_verified=verified,
    )


def _training_events(ledger: Ledger) -> tuple[Event, ...]:
    reserved = [entry.body for entry in ledger.entries() if entry.kind == "reserve"]
    return tuple(from_dict(body["event"]) for body in reserved if body["what"] == "training")


def _epsilon(events: tuple[Event, ...], unit: Unit, delta: float) -> float:
    return accountant.epsilon(events, delta, unit)


def _exact(run: RunFolder) -> tuple[str, ...]:
    """What left the sites without noise, by the word of the first site's ledger."""
    site = open_site(run.federation / "sites" / site_names(run)[0])
    try:
        with Ledger.open(site.ledger, site=site.name) as ledger:
            exact = [e for e in ledger.events() if isinstance(e, ExactThroughSecureSum)]
    except LedgerError:
        return (f"unknown: the ledger of {site.name} cannot be read",)
    return tuple(
        f"{event.what}: exact, only as a sum over all sites, not differentially private"
        for event in exact
    )


def _absences(run: RunFolder) -> tuple[str, ...]:
    """A sentence for each site that is not in every round's sum."""
    rounds = [line["sites"] for line in run.progress() if line["event"] == "round"]
    missed = {name: sum(name not in sites for sites in rounds) for name in site_names(run)}
    return tuple(
        f"{name} is missing from {count} of {len(rounds)} rounds."
        for name, count in missed.items()
        if count
    )


def _limits(run: RunFolder) -> tuple[str, ...]:
    site = open_site(run.federation / "sites" / site_names(run)[0])
    is_seeded = site.policy.reproducible_seed is not None
    private = load_study(str(run.study)).privacy.mode != "none"
    return (*_LIMITS, _REPRODUCIBLE) if is_seeded and private else _LIMITS


def _targets(study: Study) -> dict[str, str]:
    """What a study asks for beside classes; nothing where it asks for nothing."""
    targets = targets_of(study)
    ranges = (f"{n} ({s.least:g} to {s.most:g})" for n, s in targets.dimensions.items())
    said = {
        "dimensions": ", ".join(ranges),
        "labels": ", ".join(targets.labels),
        "class target": study.training.class_target.replace("given", ""),
    }
    return {name: value for name, value in said.items() if value}


def _settings(study: Study) -> dict[str, str]:
    privacy, training = study.privacy, study.training
    found = {
        "purpose": study.purpose,
        "modalities": ", ".join(sorted(study.modalities)),
        **_targets(study),
        "normalise": study.normalise,
        "fusion": f"{study.model.fusion}, width {study.model.width}",
        "server optimizer": f"{training.server_optimizer}, {training.server_learning_rate:g}",
        "secure sum": f"SA1, {study.secure_aggregation.suite}",
        "seed": str(study.seed),
    }
    if privacy.mode == "none":
        return found
    return found | {
        "privacy": f"{privacy.mode}, by {privacy.unit}",
        "target ε, δ": f"{privacy.target_epsilon:g}, {privacy.target_delta:g}",
        "noise multiplier σ": f"{privacy.noise_multiplier:g}",
        "sampling rate q": f"{privacy.sampling_rate:g}",
        "clipping norm C": f"{privacy.max_grad_norm:g}",
        "DP steps": str(steps_of(study)),
    }
