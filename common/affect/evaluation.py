"""One evaluation: the integers that a study's sites contribute, and every figure read from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.affect.classes import evaluation_lanes, metrics_from_lanes
from common.affect.dimensions import (
    DimensionMetrics,
    ccc_on_grid,
    dimension_lanes,
    dimension_metrics,
    grid_lanes,
    rated_clips,
)
from common.affect.labels import LabelMetrics, label_lanes, label_metrics
from common.affect.metrics import Metrics
from common.affect.raters import RaterMetrics, rater_lanes, rater_metrics
from common.affect.views import (
    Views,
    dimension_prefix,
    label_view_lanes,
    modality_views,
    view_lanes,
    view_macro_f1,
    view_uars,
)
from common.config import Study
from common.errors import DataError
from common.targets import Targets, targets_of

ByView = dict[str, float | None]


@dataclass(frozen=True)
class Evaluation:
    """What the persons kept for evaluation say of a model.

    Args:
        classes: None where the study has none, or no clip of them is kept.
        dimensions: those that some kept clip has a rating on.
        labels: None where the study has none, or none is known.
        raters: None unless the study trains on the raters' votes.
        views: view of modalities -> UAR.
        dimension_views: dimension -> view -> CCC.
        label_views: view -> macro F1 of the labels.
    """

    classes: Metrics | None = None
    dimensions: dict[str, DimensionMetrics] = field(default_factory=dict)
    labels: LabelMetrics | None = None
    raters: RaterMetrics | None = None
    views: ByView = field(default_factory=dict)
    dimension_views: dict[str, ByView] = field(default_factory=dict)
    label_views: ByView = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether there is nobody to tell from."""
        return not (self.classes or self.dimensions or self.labels)

    @property
    def persons(self) -> int:
        """How many persons were evaluated, on the target that most have."""
        found = [one.persons for one in (self.classes, self.labels) if one]
        return max([*found, *(one.persons for one in self.dimensions.values())], default=0)


def lanes_of(study: Study) -> tuple[str, ...]:
    """Name the integers of an evaluation, in their order."""
    return (*counting_lanes(study), *moment_heavy_lanes(study))


def counting_lanes(study: Study) -> tuple[str, ...]:
    """Name the lanes of the classes: counts, and their products by person."""
    if not study.classes:
        return ()
    views = modality_views(tuple(study.modalities))
    return (*evaluation_lanes(study.classes), *view_lanes(study.classes, views))


def moment_heavy_lanes(study: Study) -> tuple[str, ...]:
    """Name the lanes that a study has for what stands beside classes; they take larger numbers."""
    targets = targets_of(study)
    views = modality_views(tuple(study.modalities))
    dimensions, labels = tuple(targets.dimensions), tuple(targets.labels)
    return (
        *(rater_lanes() if study.training.class_target == "raters" else ()),
        *dimension_lanes(dimensions),
        *label_lanes(labels),
        *(lane for v in views for d in dimensions for lane in grid_lanes(dimension_prefix(v, d))),
        *label_view_lanes(labels, views),
    )


def read_evaluation(lanes: Mapping[str, int], study: Study) -> Evaluation:
    """Read every figure from the lanes summed over sites."""
    targets, views = targets_of(study), modality_views(tuple(study.modalities))
    votes = study.classes and study.training.class_target == "raters"
    spans = {n: s.span for n, s in targets.dimensions.items() if rated_clips(lanes, n)}
    labels = tuple(targets.labels)
    metrics = _classes(lanes, targets)
    return Evaluation(
        classes=metrics,
        dimensions=dimension_metrics(lanes, spans),
        labels=label_metrics(lanes, labels),
        raters=rater_metrics(lanes) if votes else None,
        views=view_uars(lanes, study.classes, views) if metrics else {},
        dimension_views={name: _cccs(lanes, name, views) for name in spans},
        label_views={view: view_macro_f1(lanes, labels, view) for view in views} if labels else {},
    )


def _classes(lanes: Mapping[str, int], targets: Targets) -> Metrics | None:
    try:
        return metrics_from_lanes(lanes, targets.classes) if targets.classes else None
    except DataError:
        return None


def _cccs(lanes: Mapping[str, int], name: str, views: Views) -> ByView:
    return {view: ccc_on_grid(lanes, dimension_prefix(view, name)) for view in views}
