"""How good a model is, from counts and moments alone: sums over sites suffice.

A site turns its predictions into integer lanes; lanes are added over sites, secretly if need be;
the coordinator reads every figure from the totals.
"""

from common.affect.classes import evaluation_lanes, metrics_from_lanes, person_counts
from common.affect.described import described, is_told, read_described
from common.affect.dimensions import (
    DimensionMetrics,
    dimension_counts,
    dimension_lanes,
    dimension_metrics,
)
from common.affect.evaluation import Evaluation, lanes_of, read_evaluation
from common.affect.figures import Figure, figures_of, headline, main_figures
from common.affect.labels import LabelMetrics, label_counts, label_lanes, label_metrics
from common.affect.metrics import Metrics
from common.affect.moments import Estimate
from common.affect.raters import RaterMetrics, rater_counts, rater_lanes, rater_metrics
from common.affect.views import Views, modality_views, shown, view_counts, view_lanes, view_uars

__all__ = [
    "DimensionMetrics",
    "Estimate",
    "Evaluation",
    "Figure",
    "LabelMetrics",
    "Metrics",
    "RaterMetrics",
    "Views",
    "described",
    "dimension_counts",
    "dimension_lanes",
    "dimension_metrics",
    "evaluation_lanes",
    "figures_of",
    "headline",
    "is_told",
    "label_counts",
    "label_lanes",
    "label_metrics",
    "lanes_of",
    "main_figures",
    "metrics_from_lanes",
    "modality_views",
    "person_counts",
    "rater_counts",
    "rater_lanes",
    "rater_metrics",
    "read_described",
    "read_evaluation",
    "shown",
    "view_counts",
    "view_lanes",
    "view_uars",
]
