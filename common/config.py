"""Studies and site policies as frozen dataclasses: the defaults stand here and only here."""

from dataclasses import dataclass, field
from typing import Any

from common.approval import Ethics, PurposeException
from common.missing import Missing
from common.ratings import Dimension, Label

LATER: dict[str, bool] = {"later": True}
"""Marks a setting that came later: at its default it is not written, so older studies stay as
they were, in words and in hash."""


@dataclass(frozen=True)
class Modality:
    """How one modality becomes a tensor, and which encoder reads it.

    Args:
        front_end: name in common.inputs.FRONT_ENDS; "auto" takes the modality's default.
        encoder: name in common.models.registry.ENCODERS; "auto" takes what fits the shape.
        options: the front end's own options, e.g. {"dim": 8} for a vector of eight numbers.
    """

    front_end: str = "auto"
    encoder: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """Size and shape of the network.

    Args:
        width: features per modality token.
        hidden: width of an encoder's hidden layer; 0 makes encoders linear.
        fusion: name in common.models.registry.FUSIONS.
        dropout: share of features dropped while training, 0 to 1.
        modality_dropout: share of a clip's modalities hidden while training, 0 to 1; makes a
            model that holds up where one is missing.
    """

    width: int = 64
    hidden: int = 64
    fusion: str = "masked_mean"
    dropout: float = 0.0
    modality_dropout: float = 0.0


@dataclass(frozen=True)
class Training:
    """What a site does between two exchanges, and what the coordinator does with the sum.

    Args:
        num_server_rounds: exchanges in a run.
        local_epochs: passes over a site's training clips between exchanges (without privacy).
        local_steps: DP steps between exchanges (privacy.mode=local).
        batch_size: clips a step (without privacy).
        optimizer: name in client.train.OPTIMIZERS.
        learning_rate: of that optimizer.
        momentum: of the site's SGD, 0 to 1.
        weight_decay: of the site's optimizer.
        server_optimizer: name in server.optimizer.OPTIMIZERS.
        server_learning_rate: of the coordinator's optimizer.
        server_momentum: of the coordinator's optimizer, 0 to 1.
        evaluate_every: rounds between two federated evaluations; the last round always evaluates.
        balance_classes: weight each class by its inverse frequency; of each label, yes and no
            likewise.
        balance_over: over which clips such a frequency is counted: of the "site", or of
            "all_sites" (their counts through the secure sum; only where privacy.mode is none).
            Under privacy it is counted within each person.
        class_target: what raters' votes become: "given" (label_dist where a row has it, label
            else), "raters" (label_dist, which every labelled row must have; evaluation compares
            distributions as well) or "majority" (the class or answer with the most votes).
        precision: of products while a GPU trains, "float32" or "bfloat16"; a CPU takes float32.
        compile: let a GPU run a compiled model (without privacy only).
    """

    num_server_rounds: int = 10
    local_epochs: int = 2
    local_steps: int = 10
    batch_size: int = 32
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    server_optimizer: str = "fedavg"
    server_learning_rate: float = 1.0
    server_momentum: float = 0.0
    evaluate_every: int = 1
    balance_classes: bool = True
    precision: str = "float32"
    compile: bool = False
    class_target: str = field(default="given", metadata=LATER)
    balance_over: str = field(default="site", metadata=LATER)


@dataclass(frozen=True)
class Privacy:
    """Which guarantee a site gives, and at which cost.

    Args:
        mode: "none", "local" (full noise at each site) or "distributed" (shares of one noise).
        unit: "person" or "record": whom one ε speaks about.
        target_epsilon: the whole run's ε at a site.
        target_delta: the whole run's δ at a site; at most 1/(10 × persons).
        max_grad_norm: clipping norm C of one unit's gradient.
        sampling_rate: Poisson rate q at which units join a step; public.
        clips_per_person: most clips of one person in one step.
        noise_multiplier: σ, noise in units of C; null calibrates it to target_epsilon.
    """

    mode: str = "none"
    unit: str = "person"
    target_epsilon: float = 8.0
    target_delta: float = 1e-3
    max_grad_norm: float = 1.0
    sampling_rate: float = 0.25
    clips_per_person: int = 32
    noise_multiplier: float | None = None


@dataclass(frozen=True)
class SecureAggregation:
    """The public parameters of the secure sum.

    Args:
        suite: "x25519" or "mlkem768_x25519".
        min_sites: fewest sites in a sum; each site enforces it, and its own policy besides.
        rounds_per_key: rounds keyed at once; more cost fewer trips, and a site that misses the
            keying is out for all of them.
        update_norm: largest L2 norm of a site's update; a longer one is scaled down at the site.
        weight_cap: most clips (or declared persons, under privacy) that a site's update counts for.
        stage_timeout_s: how long the coordinator waits for a stage's replies.
    """

    suite: str = "x25519"
    min_sites: int = 3
    rounds_per_key: int = 8
    update_norm: float = 8.0
    weight_cap: int = 1024
    stage_timeout_s: float = 120.0


@dataclass(frozen=True)
class Split:
    """Who trains and who is kept for evaluation.

    Args:
        folds: number of folds by person; 0 takes the manifest's split column instead.
        fold: which fold is kept for evaluation, 0 to folds - 1.
        evaluate_on: the manifest's split that is evaluated: "validation" or "test".
    """

    folds: int = 0
    fold: int = 0
    evaluate_on: str = "test"


@dataclass(frozen=True)
class Study:
    """What is trained, on which modalities and labels, for which purpose, under which privacy.

    Args:
        name: letters, digits, "-" and "_".
        purpose: what the model is for; a site's policy and its persons' consent must cover it.
        classes: the labels, in the order of the model's outputs; one of them a clip.
        dimensions: name -> continuous target, such as valence, beside the classes or without.
        labels: name -> label that may hold together with others.
        modalities: manifest column (audio, video, image, text, physio, features_NAME) -> how.
        normalise: "none" (public constants), "person" (within each person's own clips; uses the
            unlabelled clips of test persons as well) or "federated" (mean and variance of the
            training clips through the secure sum; only where privacy.mode is none).
        seed: of initial weights and, where a simulation runs without privacy, of batches.
        device: "auto", "cpu" or "cuda:i": where a site trains.
        missing: modalities that are hidden at random, for an experiment.
    """

    name: str = ""
    purpose: str = "research"
    classes: tuple[str, ...] = ()
    modalities: dict[str, Modality] = field(default_factory=dict)
    normalise: str = "none"
    seed: int = 0
    device: str = "auto"
    missing: Missing = field(default_factory=Missing, metadata=LATER)
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
    privacy: Privacy = field(default_factory=Privacy)
    secure_aggregation: SecureAggregation = field(default_factory=SecureAggregation)
    split: Split = field(default_factory=Split)
    dimensions: dict[str, Dimension] = field(default_factory=dict, metadata=LATER)
    labels: dict[str, Label] = field(default_factory=dict, metadata=LATER)


@dataclass(frozen=True)
class FrozenEncoder:
    """Where a pretrained encoder lies at a site; a study knows its name and hash alone.

    Args:
        path: of its folder; relative to the site's folder, or absolute.
        sha256: the one that this site accepts, as `tacit data encoder` prints it; empty leaves
            it to the study, which always names one.
        licence: of its weights; empty takes the model card's.
    """

    path: str = ""
    sha256: str = ""
    licence: str = ""


@dataclass(frozen=True)
class SitePolicy:
    """What a site allows, whatever the coordinator asks: default deny.

    Args:
        site: the site's name in the roster.
        manifest: path of the site's manifest; relative to the site's folder, or absolute.
        cache: folder for extracted features; relative to the site's folder, or absolute.
        studies: the names of the studies that may run here; with none, every study is refused.
        purposes: the purposes that a study may have here; with none, every study is refused.
        exception: for a purpose at work or in education, which is refused without it.
        ethics: the approval that covers this site's recordings.
        consent_scopes: purpose -> the words of the manifest's consent_scope column that cover it;
            a clip without such a word is left out. A purpose that is not listed here must be
            named itself, where the manifest has that column.
        modalities: the modalities that this site lets be used; empty allows what the manifest has.
        encoders: name -> the frozen encoder that this site means by it; a study that names
            another is refused.
        labels: the labels in this site's data; a study whose classes lack one is refused before
            data is read. Empty leaves it to the data.
        folds: in how many folds this site's persons may be dealt; a study asks for just that
            many, or none where the manifest holds the split.
        unit: whom the caps below speak about; studies by another unit are refused.
        declared_persons: the public number of persons a run at this site is scaled by. It is
            declared once by the site, never computed from who happens to be in the data.
        declared_records: the same for clips, where the unit is the record.
        max_epsilon: cap on the ε of one unit over everything that this site ever released.
        max_epsilon_per_study: cap on the ε of one unit over all runs of one study; null takes
            max_epsilon.
        delta: δ at which that cap is measured.
        allow_without_privacy: whether studies with privacy.mode=none may run at all.
        min_sites: fewest sites in any sum that this site joins.
        min_persons: fewest persons of this site behind any exact number; with fewer it adds
            nothing to the sum.
        max_rounds: most training rounds of one run.
        max_evaluations: most evaluations of one study over all its runs; each leaves as exact
            counts, which no ε speaks of.
        max_grad_norm: largest clipping norm C of a private study.
        suite: the least that protects the secure sum: "x25519", or "mlkem768_x25519", which holds
            against quantum computers too.
        settings: study's key -> what a coordinator may set it to when it starts a run: a list of
            values, {least, most}, or any. Other keys are refused; the key "*" stands for the rest.
        quiet_hours: when nothing is begun here, as 22:00-06:00 in the machine's local time.
        publish_budget: what the site tells a coordinator of its budget: "nothing", the "study" in
            hand alone, or "all" studies.
        fold_offset: null deals each person into a fold by a hash of the person's name alone. A
            number deals persons out in turn from that fold on: even folds, but one person more
            moves others, so only for a closed list of persons such as a published corpus.
        reproducible_seed: simulations only: noise and sampling come from this seed, so a run can
            be repeated and gives NO protection. null draws them from the operating system.
    """

    site: str = ""
    manifest: str = "manifest.csv"
    cache: str = "cache"
    studies: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    exception: PurposeException = field(default_factory=PurposeException)
    ethics: Ethics = field(default_factory=Ethics)
    consent_scopes: dict[str, list[str]] = field(default_factory=dict)
    modalities: tuple[str, ...] = ()
    encoders: dict[str, FrozenEncoder] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    folds: int = 0
    unit: str = "person"
    declared_persons: int = 0
    declared_records: int = 0
    max_epsilon: float = 0.0
    max_epsilon_per_study: float | None = None
    delta: float = 1e-3
    allow_without_privacy: bool = False
    min_sites: int = 3
    min_persons: int = 3
    max_rounds: int = 1000
    max_evaluations: int = 1000
    max_grad_norm: float = 1.0
    suite: str = "mlkem768_x25519"
    settings: dict[str, Any] = field(default_factory=dict)
    quiet_hours: tuple[str, ...] = ()
    publish_budget: str = "nothing"
    fold_offset: int | None = None
    reproducible_seed: int | None = None

    @property
    def study_cap(self) -> float:
        """Cap on the ε of one unit over all runs of one study."""
        own = self.max_epsilon_per_study
        return self.max_epsilon if own is None else min(own, self.max_epsilon)
