"""A finished run's model, tuned at one site on its own persons; the tuned model stays there."""

import hashlib
import math
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import cast

import numpy as np

from client.charge import opening_of
from client.contribute import entropy_of, tune_locally, tune_openly
from client.data.arrays import SiteData
from client.evaluate import say
from client.folder import SiteFolder, log, open_site
from client.policy import gate_hours, gate_study
from client.predict import Predicted, finished, measure
from client.session import Session, manifest_stamp
from client.train import dropout_from, to_batch
from common.affect import Evaluation, headline
from common.budget import resolved, round_event
from common.class_counts import COUNTS
from common.config import Study, Training
from common.errors import ConfigError, PolicyRefused, ProtocolError
from common.keys import read_roster
from common.models.registry import Multimodal
from common.parameters import Arrays, group_of, model_hash, to_arrays
from common.privacy.accountant import epsilon
from common.privacy.events import Unit
from common.secagg.roster import Context
from common.settings import config_hash
from common.sums import parameters_of

PARTS = ("head", "all")
SUFFIX = "-personal"
"""After the study's name in the ledger: its personal models have an account of their own."""
TASK = "personal model"


@dataclass(frozen=True)
class Wish:
    """How a model is to be tuned; what is left open was measured (docs/usefulness.md).

    Args:
        epsilon: what it may cost each unit of the site; None tunes without noise.
        learning_rate: of the study's optimizer.
        steps: DP steps, without noise passes over the clips; None takes 10 or 5.
        only: "head" tunes the last layer, "all" every layer; None takes the head under noise,
            which leaves no site far behind, and every layer without.

    Raises:
        ConfigError: a part that is not known, or a number that is out of range.
    """

    epsilon: float | None = None
    learning_rate: float = 0.05
    steps: int | None = None
    only: str | None = None

    def __post_init__(self) -> None:
        for name in ("epsilon", "learning_rate", "steps"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} is {value:g}; expected a number above 0.")
        if self.only not in (*PARTS, None):
            raise ConfigError(f"only is {self.only!r}; expected one of {', '.join(PARTS)}.")

    @property
    def rounds(self) -> int:
        """How many steps, or passes without noise."""
        return self.steps or (5 if self.epsilon is None else 10)

    @property
    def part(self) -> str:
        """Which layers are tuned."""
        return self.only or ("all" if self.epsilon is None else "head")


@dataclass(frozen=True)
class Cost:
    """What a tuned model cost each unit of the site.

    Args:
        noise_multiplier: σ of its steps.
        epsilon: of this model, at the study's δ.
        epsilon_of_site: of everything that the site ever released, at the site's own δ.
        is_seeded: whether the noise comes from a seed, and so protects nobody.
    """

    noise_multiplier: float
    epsilon: float
    epsilon_of_site: float
    is_seeded: bool = False


@dataclass(frozen=True)
class Personal:
    """A tuned model, and how it reads the site's own held-out persons.

    Args:
        site: the name of the site.
        study: the run's study, as it was run.
        training: how it was tuned.
        only: which layers were: "head" or "all".
        base_sha256: of the file that the model began as.
        arrays: the tuned model, with the statistics that the base came with.
        cost: None without noise.
        before: figures of the base model.
        after: figures of the tuned model.
    """

    site: str
    study: Study
    training: Training
    only: str
    base_sha256: str
    arrays: Arrays
    cost: Cost | None
    before: Evaluation
    after: Evaluation

    @property
    def is_worse(self) -> bool:
        """Whether the figure that stands for the others fell."""
        return not headline(self.after).value >= headline(self.before).value


def personalise(run: Path, root: Path, wish: Wish) -> Personal:
    """Tune a finished run's model on a site's own training persons.

    Args:
        run: a run's folder, or that of a personal model.
        root: the site's folder.
        wish: at which cost, and how.

    Raises:
        ConfigError: the run is not finished, its model is not its study's, or no noise meets the ε.
        PolicyRefused: the site's policy does not allow it.
        BudgetSpent: a cap would be exceeded; nothing was charged and no data was read.
        DataError: the manifest or a recording is wrong, or nobody is held out.

    Guarantees: with an ε, the model is an (ε, δ)-DP function of the training persons; the charge is
    on disk before a recording is read, and stays in full whatever fails after it.
    """
    site, (study, model, statistics) = open_site(root), finished(run)
    arrays = {**to_arrays(model), **statistics}
    arrays.pop(COUNTS, None)
    session = _gated(site, study, wish)
    _accept(session, arrays, wish.part)
    with _charged(session):
        train = session.load(arrays, session.train_data)
        kept = session.load(arrays, session.evaluation_data)
        before = _judged(session, kept)
        _tune(session, train, arrays)
        after = _judged(session, kept)
    log(root, "personalised", study=study.name, epsilon=wish.epsilon or "none")
    base = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    tuned = {**to_arrays(session.model), **statistics}
    how, cost = (session.study.training, wish.part, base), _cost(session)
    return Personal(site.name, study, *how, tuned, cost, before, after)


def _gated(site: SiteFolder, study: Study, wish: Wish) -> Session:
    """Hold the tuning to the gate of a round; how much ε there is, the ledger decides."""
    asked, policy = _as_tuned(study, wish), site.policy
    within = min(asked.privacy.target_epsilon, policy.study_cap)
    capped = replace(asked, privacy=replace(asked.privacy, target_epsilon=within))
    gate_hours(policy, datetime.now())
    gate_study(policy, capped, date.today())
    one_site = resolved(asked, 1, parameters_of(asked))
    return Session(site, one_site, read_roster(site.roster), manifest_stamp(site.manifest))


def _as_tuned(study: Study, wish: Wish) -> Study:
    """The study as one round at one site, which is what tuning is.

    Raises:
        ConfigError: a private study without an ε.
    """
    if wish.epsilon is None and study.privacy.mode != "none":
        raise ConfigError(
            f"Study {study.name!r} trains under privacy, and so does its personal model: say with "
            "--epsilon how much of the site's budget it may spend; `tacit budget show` says what "
            "is left."
        )
    training = replace(
        study.training,
        num_server_rounds=1,
        local_steps=wish.rounds,
        local_epochs=wish.rounds,
        learning_rate=wish.learning_rate,
        balance_over="site",
    )
    if wish.epsilon is None:
        return replace(study, training=training)
    privacy = replace(
        study.privacy, mode="local", target_epsilon=wish.epsilon, noise_multiplier=None
    )
    return replace(study, training=training, privacy=privacy)


def _accept(session: Session, arrays: Arrays, only: str) -> None:
    """Put the base model in place, and let go on learning only what is to be tuned.

    The branch of a modality that the site does not have stays as it is: only noise could move it.

    Raises:
        ConfigError: the model is not the study's.
    """
    try:
        session.accept(arrays)
    except ProtocolError as error:
        raise ConfigError(f"The model is not that of {session.study.name!r}: {error}") from error
    model = cast("Multimodal", session.model)
    has_head = any(name.startswith("head.") for name, _ in model.named_parameters())
    last = "head." if has_head else ".project."
    for name, parameter in model.named_parameters():
        is_chosen = only == "all" or last in name
        parameter.requires_grad_(is_chosen and group_of(name) in {"all", *session.modalities})


@contextmanager
def _charged(session: Session) -> Iterator[None]:
    """Reserve before the block, commit after it; a block that fails stays charged in full.

    Without noise nothing is charged: the ledger holds what leaves, and such a model must not.

    Raises:
        BudgetSpent: the study's personal models, or the site, would exceed the site's caps.
        LedgerError: the ledger is damaged or cannot be written.
    """
    if session.study.privacy.mode == "none":
        yield
        return
    ledger, account = session.ledger, session.study.name + SUFFIX
    cap = session.site.policy.study_cap
    ledger.open_study(replace(opening_of(session), study=account, study_epsilon=cap))
    reservation = ledger.reserve(
        account,
        round_event(session.study, 1, session.parameters),
        round=0,
        what=TASK,
        run=secrets.token_hex(8),
        max_grad_norm=session.study.privacy.max_grad_norm,
    )
    yield
    ledger.commit(reservation)


def _tune(session: Session, train: SiteData, arrays: Arrays) -> None:
    """One round's training at the site, in place.

    Raises:
        PolicyRefused: without noise, fewer than min_persons would be learned from.
    """
    hashed = config_hash(session.study), model_hash(arrays)
    entropy = entropy_of(session, Context(bytes(32), "", 0, 0, TASK, *hashed))
    with dropout_from(int.from_bytes(entropy(7), "little"), session.device):
        if session.study.privacy.mode == "local":
            tune_locally(session, train, entropy)
        elif not len(tune_openly(session, train, entropy)):
            raise PolicyRefused(
                f"Fewer than {session.site.policy.min_persons} persons of {session.site.name} "
                "train, and without noise a model tells of each. policy.yaml, min_persons: tune "
                "with --epsilon, or lower it there."
            )


def _judged(session: Session, kept: SiteData) -> Evaluation:
    """Every figure on the held-out persons, for the site's own eyes."""
    batch = to_batch(kept, np.ones(len(kept), dtype=np.float32), session.device)
    said = say(session.model, batch, len(session.study.classes))
    return measure(Predicted(session.study, kept, said))


def _cost(session: Session) -> Cost | None:
    study, policy = session.study, session.site.policy
    if study.privacy.mode == "none":
        return None
    unit, event = cast("Unit", study.privacy.unit), round_event(study, 1, parameters_of(study))
    return Cost(
        float(study.privacy.noise_multiplier or 0),
        epsilon([event], study.privacy.target_delta, unit),
        session.ledger.spent(cast("Unit", policy.unit), policy.delta),
        policy.reproducible_seed is not None,
    )
