"""How good a model is, from counts and moments alone: sums over sites suffice.

A site turns its predictions into integer lanes; lanes are added over sites, secretly if need be;
the coordinator reads every figure from the totals.
"""

from common.affect.classes import evaluation_lanes, metrics_from_lanes, person_counts
from common.affect.dimensions import (
    DimensionMetrics,
    dimension_counts,
    dimension_lanes,
    dimension_metrics,
)
from common.affect.metrics import Metrics
from common.affect.moments import Estimate
from common.affect.views import Views, modality_views, shown, view_counts, view_lanes, view_uars

__all__ = [
    "DimensionMetrics",
    "Estimate",
    "Metrics",
    "Views",
    "dimension_counts",
    "dimension_lanes",
    "dimension_metrics",
    "evaluation_lanes",
    "metrics_from_lanes",
    "modality_views",
    "person_counts",
    "shown",
    "view_counts",
    "view_lanes",
    "view_uars",
]
