"""An evaluation as JSON values, and back."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from common.affect.dimensions import DimensionMetrics
from common.affect.evaluation import Evaluation
from common.affect.labels import LabelMetrics
from common.affect.metrics import Metrics
from common.affect.moments import Estimate
from common.affect.raters import RaterMetrics

PARTS = ("raters", "dimensions", "labels", "dimension_views", "label_views")


def described(found: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON values; nothing where there is nobody to tell from.

    The classes' figures are `metrics`, their views `views`; other parts go by their own names,
    and only where the study has them.
    """
    if found.is_empty:
        return {}
    whole = json.loads(json.dumps(asdict(found)))
    told = {"metrics": whole["classes"], "views": whole["views"]} if found.classes else {}
    return told | {name: whole[name] for name in PARTS if whole[name]}


def is_told(line: Mapping[str, Any]) -> bool:
    """Whether a line of a run's progress holds an evaluation."""
    return any(line.get(name) for name in ("metrics", "dimensions", "labels"))


def read_described(line: Mapping[str, Any]) -> Evaluation:
    """The evaluation that `described` made these values of."""
    metrics, labels, raters = (line.get(name) for name in ("metrics", "labels", "raters"))
    dimensions = (line.get("dimensions") or {}).items()
    return Evaluation(
        classes=_metrics(metrics) if metrics else None,
        dimensions={name: DimensionMetrics(**_estimates(one)) for name, one in dimensions},
        labels=_labels(labels) if labels else None,
        raters=RaterMetrics(**_estimates(raters)) if raters else None,
        views=dict(line.get("views") or {}),
        dimension_views=dict(line.get("dimension_views") or {}),
        label_views=dict(line.get("label_views") or {}),
    )


def _estimates(known: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, with each figure and its interval as one."""
    return {name: _estimate(value) for name, value in known.items()}


def _estimate(value: Any) -> Any:
    is_one = isinstance(value, Mapping) and set(value) == {"value", "low", "high"}
    return Estimate(**value) if is_one else value


def _metrics(known: Mapping[str, Any]) -> Metrics:
    tuples = {
        "classes": tuple(known["classes"]),
        "absent_classes": tuple(known["absent_classes"]),
        "confusion_CC": tuple(tuple(row) for row in known["confusion_CC"]),
    }
    return Metrics(**{**_estimates(known), **tuples, "recall": _estimates(known["recall"])})


def _labels(known: Mapping[str, Any]) -> LabelMetrics:
    absent = tuple(known["absent_labels"])
    parts = {"absent_labels": absent, "f1": _estimates(known["f1"])}
    return LabelMetrics(**{**_estimates(known), **parts})
