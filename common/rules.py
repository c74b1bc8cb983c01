"""What fits in a configuration, beside the types: one table for studies, one for policies."""

import re
from collections.abc import Callable
from typing import Any

Rule = tuple[str, Callable[[Any], bool], str]


def _one_of(*names: str) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: value in names), "one of " + ", ".join(names)


def _between(low: float, high: float) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: low <= value <= high), f"a number from {low:g} to {high:g}"


STUDY_RULES: tuple[Rule, ...] = (
    (
        "name",
        lambda value: bool(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value)),
        "1 to 64 letters, digits, '-' or '_'",
    ),
    (
        "classes",
        lambda value: 2 <= len(set(value)) == len(value) <= 64,
        "2 to 64 different labels",
    ),
    ("modalities", lambda value: 1 <= len(value) <= 16, "1 to 16 modalities"),
    ("normalise", *_one_of("none", "person", "federated")),
    (
        "device",
        lambda value: bool(re.fullmatch(r"auto|cpu|cuda:\d+", value)),
        "auto, cpu or cuda:0, cuda:1, …",
    ),
    ("model.width", *_between(1, 4096)),
    ("model.hidden", *_between(0, 4096)),
    ("model.dropout", *_between(0, 0.95)),
    ("model.modality_dropout", *_between(0, 0.95)),
    ("training.num_server_rounds", *_between(1, 100_000)),
    ("training.optimizer", *_one_of("sgd", "adam")),
    ("training.server_optimizer", *_one_of("fedavg", "fedadam")),
    ("training.local_epochs", *_between(1, 1000)),
    ("training.local_steps", *_between(1, 100_000)),
    ("training.batch_size", *_between(1, 1_000_000)),
    ("training.learning_rate", *_between(1e-9, 1e3)),
    ("training.momentum", *_between(0, 0.9999)),
    ("training.weight_decay", *_between(0, 10)),
    ("training.server_learning_rate", *_between(1e-9, 1e3)),
    ("training.server_momentum", *_between(0, 0.9999)),
    ("training.evaluate_every", *_between(1, 100_000)),
    ("privacy.mode", *_one_of("none", "local", "distributed")),
    ("privacy.unit", *_one_of("person", "record")),
    ("privacy.target_epsilon", *_between(0.01, 1000)),
    ("privacy.target_delta", *_between(1e-12, 0.1)),
    ("privacy.max_grad_norm", *_between(1e-6, 1e6)),
    ("privacy.sampling_rate", *_between(1e-6, 1)),
    ("privacy.clips_per_person", *_between(1, 1_000_000)),
    (
        "privacy.noise_multiplier",
        lambda value: value is None or 0 < value <= 1e5,
        "a number above 0 to 100000, or null to calibrate it",
    ),
    ("secure_aggregation.suite", *_one_of("x25519", "mlkem768_x25519")),
    ("secure_aggregation.min_sites", *_between(3, 10_000)),
    ("secure_aggregation.rounds_per_key", *_between(1, 64)),
    ("secure_aggregation.update_norm", *_between(1e-6, 1e6)),
    ("secure_aggregation.weight_cap", *_between(1, 1 << 20)),
    ("secure_aggregation.stage_timeout_s", *_between(1, 86_400)),
    ("split.folds", lambda value: value == 0 or 2 <= value <= 1000, "0, or 2 to 1000"),
    ("split.fold", *_between(0, 999)),
    ("split.evaluate_on", *_one_of("validation", "test")),
)
POLICY_RULES: tuple[Rule, ...] = (
    ("site", lambda value: bool(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value)), "a site name"),
    ("max_epsilon", *_between(0, 1000)),
    ("delta", *_between(1e-12, 0.1)),
    ("declared_persons", *_between(1, 1e9)),
    ("unit", *_one_of("person", "record")),
    ("folds", *_between(0, 1000)),
    ("declared_records", *_between(0, 1e12)),
    ("max_rounds", *_between(1, 100_000)),
    ("max_grad_norm", *_between(1e-6, 1e6)),
    ("fold_offset", *_between(0, 1e9)),
    ("publish_budget", *_one_of("nothing", "study", "all")),
    ("min_sites", *_between(3, 10_000)),
    ("min_persons", *_between(1, 1e9)),
)
