"""What fits in a configuration, beside the types: one table for studies, one for policies."""

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from common.approval import Ethics, PurposeException
from common.config import FrozenEncoder, Study
from common.ratings import Dimension, Label

Rule = tuple[str, Callable[[Any], bool], str]
SUITES = ("x25519", "mlkem768_x25519")
"""Key agreements of the secure sum; a later one protects at least as well as one before it."""
EXCEPTIONS = ("medical", "safety")
ANY = "any"
REST = "*"


@dataclass(frozen=True)
class OneOf:
    """Whether a value is one of some names."""

    names: tuple[str, ...]

    def __call__(self, value: object) -> bool:
        """Whether it is."""
        return value in self.names


@dataclass(frozen=True)
class Between:
    """Whether a number lies from low to high."""

    low: float
    high: float

    def __call__(self, value: float) -> bool:
        """Whether it does."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Matches:
    """Whether a text, or each of several, is what a regular expression describes."""

    pattern: str

    def __call__(self, value: str | tuple[str, ...]) -> bool:
        """Whether it is."""
        texts = (value,) if isinstance(value, str) else value
        return all(re.fullmatch(self.pattern, text) for text in texts)


@dataclass(frozen=True)
class Entries:
    """Whether every key of a mapping is known and its value fits."""

    keys: tuple[str, ...]
    fits: Callable[[object], bool]

    def __call__(self, value: Mapping[str, object]) -> bool:
        """Whether they do."""
        return self.first_wrong(value) is None

    def first_wrong(self, value: Mapping[str, object]) -> str | None:
        """The first key that is not known, or whose value does not fit."""
        wrong = (k for k, v in value.items() if k not in self.keys or not self.fits(v))
        return next(wrong, None)


@dataclass(frozen=True)
class Named:
    """Whether a mapping has at most so many entries, with names of a kind and values that fit."""

    names: Matches
    fits: Callable[[Any], bool]
    most: int

    def __call__(self, value: Mapping[str, object]) -> bool:
        """Whether it does."""
        return len(value) <= self.most and self.first_wrong(value) is None

    def first_wrong(self, value: Mapping[str, object]) -> str | None:
        """The first key whose name or value does not fit."""
        wrong = (k for k, v in value.items() if not self.names(k) or not self.fits(v))
        return next(wrong, None)


def _one_of(*names: str) -> tuple[OneOf, str]:
    return OneOf(names), "one of " + ", ".join(names)


def _between(low: float, high: float) -> tuple[Between, str]:
    return Between(low, high), f"a number from {low:g} to {high:g}"


def flat_keys(kind: type) -> tuple[str, ...]:
    """The dotted keys of a configuration's scalar fields, in the order of the dataclass."""
    keys: list[str] = []
    hints = typing.get_type_hints(kind)
    for item in dataclasses.fields(kind):
        hint = hints[item.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            keys += [f"{item.name}.{key}" for key in flat_keys(hint)]
        elif hint in (str, int, float, bool) or isinstance(hint, types.UnionType):
            keys.append(item.name)
    return tuple(keys)


def _is_approval(ethics: Ethics) -> bool:
    """Whether an approval says both what it is and until when, or nothing at all."""
    if not ethics.reference and not ethics.until:
        return True
    return bool(ethics.reference.strip()) and _is_day(ethics.until)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _is_exception(claimed: PurposeException) -> bool:
    """Whether an exception is claimed in full, or not at all."""
    given = (claimed.kind, claimed.reference.strip(), claimed.signed_by.strip())
    return not any(given) or (all(given) and claimed.kind in EXCEPTIONS)


def _is_setting_rule(allowed: object) -> bool:
    """Whether this says which values a setting may have: a list, {least, most}, or any."""
    if isinstance(allowed, Mapping):
        numbers = [v for v in allowed.values() if isinstance(v, int | float)]
        return bool(allowed) and set(allowed) <= {"least", "most"} and len(numbers) == len(allowed)
    scalars = str | int | float | bool | None
    return allowed == ANY or (
        isinstance(allowed, list | tuple) and all(isinstance(one, scalars) for one in allowed)
    )


def _is_dimension(found: Dimension) -> bool:
    """Whether a range has a length, and its column is one that may be a target."""
    return -LARGEST_RATING <= found.least < found.most <= LARGEST_RATING and _is_target(found)


def _is_target(found: Dimension | Label) -> bool:
    """Whether a column may be predicted: not who somebody is, nor a group."""
    return len(found.column) <= 64 and not found.column.startswith(("group_", *NO_TARGETS))


def _is_encoder(found: FrozenEncoder) -> bool:
    """Whether this says where an encoder lies, and its hash is one, where there is one."""
    return bool(found.path) and bool(re.fullmatch("([0-9a-f]{64})?", found.sha256))


LARGEST_RATING = 1e6
NO_TARGETS = ("person_id", "sample_id", "session_id", "consent_", "withdrawn")
TARGET_NAME = Matches(r"(?!group_)[A-Za-z][A-Za-z0-9_-]{0,31}")
SETTINGS = Entries((*flat_keys(Study), REST), _is_setting_rule)
HOURS = r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d"

STUDY_RULES: tuple[Rule, ...] = (
    (
        "name",
        lambda value: bool(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value)),
        "1 to 64 letters, digits, '-' or '_'",
    ),
    (
        "classes",
        lambda value: len(value) != 1 and len(set(value)) == len(value) <= 64,
        "2 to 64 different labels",
    ),
    (
        "dimensions",
        Named(TARGET_NAME, _is_dimension, 16),
        "at most 16 names, each with least below most and, if not its name, the manifest's column",
    ),
    (
        "labels",
        Named(TARGET_NAME, _is_target, 32),
        "at most 32 names, each with, if not its name, the manifest's column",
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
    ("missing.rate", *_between(0, 0.95)),
    ("missing.by", *_one_of("clip", "person")),
    ("missing.fusion", *_one_of("masked", "zeros")),
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
    ("training.precision", *_one_of("float32", "bfloat16")),
    ("training.class_target", *_one_of("given", "raters", "majority")),
    ("training.balance_over", *_one_of("site", "all_sites")),
    ("privacy.mode", *_one_of("none", "local", "distributed")),
    ("privacy.unit", *_one_of("person", "record")),
    ("privacy.target_epsilon", *_between(0.01, 1000)),
    ("privacy.target_delta", *_between(1e-12, 0.1)),
    ("privacy.max_grad_norm", *_between(1e-6, 1e6)),
    ("privacy.sampling_rate", *_between(1e-6, 1)),
    ("privacy.clips_per_person", *_between(1, 1_000_000)),
    (
        "privacy.noise_multiplier",
        lambda value: value is None or 1e-3 <= value <= 1e5,
        "a number from 0.001 to 100000, or null to calibrate it",
    ),
    ("secure_aggregation.suite", *_one_of(*SUITES)),
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
    ("site", Matches(r"[A-Za-z0-9_-]{1,64}"), "a site name"),
    ("studies", Matches(r"[A-Za-z0-9_-]{1,64}"), "names of studies"),
    (
        "exception",
        _is_exception,
        "kind (medical or safety), reference and signed_by, all three or none",
    ),
    ("ethics", _is_approval, "reference, and until as a day like 2027-12-31; both or none"),
    (
        "encoders",
        Named(Matches(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"), _is_encoder, 64),
        "names of encoders, each with a path, and a sha256 of 64 hex digits or none",
    ),
    ("max_epsilon", *_between(0, 1000)),
    (
        "max_epsilon_per_study",
        lambda value: value is None or 0 <= value <= 1000,
        "a number from 0 to 1000, or null for max_epsilon",
    ),
    ("suite", *_one_of(*SUITES)),
    (
        "settings",
        SETTINGS,
        "a study's key (such as training.num_server_rounds) with a list of values, "
        "{least: …, most: …}, or any",
    ),
    ("quiet_hours", Matches(HOURS), "spans such as 22:00-06:00"),
    ("delta", *_between(1e-12, 0.1)),
    ("declared_persons", *_between(1, 1e9)),
    ("unit", *_one_of("person", "record")),
    ("folds", *_between(0, 1000)),
    ("declared_records", *_between(0, 1e12)),
    ("max_rounds", *_between(1, 100_000)),
    ("max_evaluations", *_between(0, 1_000_000)),
    ("max_grad_norm", *_between(1e-6, 1e6)),
    ("fold_offset", lambda value: value is None or 0 <= value <= 1e9, "a number from 0, or null"),
    ("publish_budget", *_one_of("nothing", "study", "all")),
    ("min_sites", *_between(3, 10_000)),
    ("min_persons", *_between(1, 1e9)),
)
