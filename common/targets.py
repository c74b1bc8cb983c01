"""What a study asks a model for: one class of several, places on dimensions, labels that hold.

The columns of a clip's targets: the share of each class; then, for each dimension and each label,
two shares that add up to 1: how far up its range a dimension lies (or how likely a label holds),
and the rest. What nobody rated is zeros. So every loss is a cross-entropy against shares, and a
missing target adds nothing to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from common.config import Study
from common.errors import ConfigError

RESERVED = ("label", "label_dist")


@dataclass(frozen=True)
class Scale:
    """Where a target stands in a manifest, and which numbers it may have there.

    Args:
        column: of the manifest.
        least: stands for 0 of the range.
        most: stands for 1 of the range.
        is_label: whether yes and no serve as well.
    """

    column: str
    least: float = 0.0
    most: float = 1.0
    is_label: bool = False

    @property
    def span(self) -> float:
        """Length of the range."""
        return self.most - self.least

    def place(self, value: float) -> float:
        """Where a number lies in the range, from 0 to 1."""
        return (value - self.least) / self.span


@dataclass(frozen=True)
class Targets:
    """What a study asks for, in the order of the model's scores.

    Args:
        classes: of which each clip has one.
        dimensions: name -> scale of a continuous target.
        labels: name -> scale of a label that may hold beside others.
    """

    classes: tuple[str, ...]
    dimensions: Mapping[str, Scale]
    labels: Mapping[str, Scale]

    @property
    def scales(self) -> dict[str, Scale]:
        """Every dimension and label, dimensions first."""
        return {**self.dimensions, **self.labels}

    @property
    def scores(self) -> int:
        """Outputs of the model."""
        return len(self.classes) + len(self.scales)

    @property
    def columns(self) -> int:
        """Columns of a clip's targets."""
        return len(self.classes) + 2 * len(self.scales)


def targets_of(study: Study) -> Targets:
    """The targets of a study."""
    return Targets(
        study.classes,
        {n: Scale(d.column or n, d.least, d.most) for n, d in study.dimensions.items()},
        {n: Scale(one.column or n, is_label=True) for n, one in study.labels.items()},
    )


def counts_classes(study: Study) -> bool:
    """Whether sites count their targets together before the first round, to balance them."""
    return study.training.balance_classes and study.training.balance_over == "all_sites"


def asked_for(study: Study) -> str:
    """What a study asks for, in a line."""
    return ", ".join((*study.classes, *study.dimensions, *study.labels))


def check_targets(study: Study, where: str) -> None:
    """Hold a study to asking for something, by names and columns of its own.

    Raises:
        ConfigError: it asks for nothing, for one name twice, or reads one column twice.
    """
    if not (study.classes or study.dimensions or study.labels):
        raise ConfigError(
            f"{where}: classes is []; expected 2 to 64 different labels, or dimensions, or labels."
        )
    both = sorted(set(study.dimensions) & set(study.labels))
    if both:
        raise ConfigError(f"{where}: {both[0]} is a dimension and a label; expected one of them.")
    targets = targets_of(study)
    columns = [scale.column for scale in targets.scales.values()]
    for name, scale in targets.scales.items():
        if columns.count(scale.column) > 1 or scale.column in RESERVED:
            raise ConfigError(
                f"{where}: {name} reads the column {scale.column!r}, which another target reads "
                "or which holds the class; expected a column of its own."
            )
    if study.training.class_target == "raters" and not study.classes:
        raise ConfigError(f"{where}: training.class_target=raters needs classes; found none.")
