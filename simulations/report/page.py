"""A finished run as one HTML file that needs no other."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from common.affect import Estimate, Metrics
from common.affect.classes import CONFIDENCE
from common.affect.figures import figures_of, main_figures
from common.affect.figures import headline as headline_of
from common.errors import EnvironmentFault
from simulations.report import figures
from simulations.report.run import RunResult
from simulations.report.template import BODY, STYLE

MOST_BESIDE = 6
"""Cards for what stands beside classes."""


@dataclass(frozen=True)
class Card:
    """One headline figure."""

    title: str
    value: str
    note: str
    tone: str = ""


def write_report(run: RunResult, out: Path) -> Path:
    """Write the run's page; return where it is.

    Args:
        run: a run with at least one evaluated round and one site.
        out: the file to write, or a folder in which it shall be `report.html`.

    Raises:
        EnvironmentFault: if the file cannot be written.
    """
    path = out if out.suffix == ".html" else out / "report.html"
    page = render_page(run)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise EnvironmentFault(
            f"{path}: the report cannot be written ({error.strerror}); free the disk or change "
            "the folder's permissions, then run again"
        ) from None
    return path


def render_page(run: RunResult) -> str:
    """Return the page; equal runs give equal pages."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "pct": percent,
        "pct0": whole_percent,
        "span": interval,
        "two": two_digits,
    }
    return environment.from_string(BODY).render(**_context(run))


def headline(run: RunResult) -> tuple[Card, ...]:
    """Choose the figures that a reader should see first."""
    beside = main_figures(replace(run.found, classes=None))[:MOST_BESIDE]
    cards = (Card(one.name, one.text, f"interval {one.interval}") for one in beside)
    return (*_class_cards(run), *cards, *_privacy_cards(run))


def _class_cards(run: RunResult) -> tuple[Card, ...]:
    metrics, without = run.metrics, run.metrics_without_privacy
    if metrics is None:
        return ()
    cards = [
        Card("UAR", percent(metrics.uar.value), f"interval {interval(metrics.uar)}"),
        Card(
            "Weighted F1",
            percent(metrics.weighted_f1.value),
            f"interval {interval(metrics.weighted_f1)}",
        ),
        Card("Chance", percent(metrics.chance), "UAR of guessing"),
    ]
    if without:
        cards.append(
            Card("Without privacy", percent(without.uar.value), f"UAR, {interval(without.uar)}")
        )
    if run.ceiling:
        cards.append(Card("Ceiling", percent(run.ceiling.uar), run.ceiling.of))
    return tuple(cards)


def spent_range(run: RunResult) -> str:
    """Say what the sites spent, from the least to the most; "" without privacy."""
    spent = [f"{s.epsilon_spent:.2f}" for s in run.sites if s.epsilon_spent is not None]
    if not spent:
        return ""
    low, high = min(spent, key=float), max(spent, key=float)
    return low if low == high else f"{low} to {high}"


def percent(value: float) -> str:
    """Write a share with one digit."""
    return f"{100 * value:.1f} %"


def whole_percent(value: float) -> str:
    """Write a share without digits."""
    return f"{100 * value:.0f} %"


def two_digits(value: float | None, otherwise: str) -> str:
    """Write a number with two digits, or something else where there is none."""
    return otherwise if value is None else f"{value:.2f}"


def interval(estimate: Estimate) -> str:
    """Write an interval of shares."""
    return f"{100 * estimate.low:.1f} – {100 * estimate.high:.1f} %"


def _privacy_cards(run: RunResult) -> tuple[Card, ...]:
    if run.mode == "none":
        return (Card("Privacy", "none", "no differential privacy in this run", "bad"),)
    unit = run.sites[0].unit
    verified = sum(site.ledger_verified for site in run.sites)
    ledger = (
        Card("Ledger", "verified", f"at all {verified} sites", "good")
        if run.ledgers_verified
        else Card("Ledger", "not verified", f"verified at {verified} of {len(run.sites)}", "bad")
    )
    return Card("ε spent", spent_range(run), f"per {unit}, at each site"), ledger


def _context(run: RunResult) -> dict[str, Any]:
    private = run.mode != "none"
    unit = run.sites[0].unit
    return {
        "run": run,
        "m": run.metrics,
        "open": run.found_without_privacy,
        "first": headline_of(run.found),
        "rounds": [(p.round, headline_of(p.found), p.metrics) for p in run.rounds],
        "open_rounds": {p.round: headline_of(p.found).text for p in run.rounds_without_privacy},
        "persons": run.found.persons,
        "confidence": CONFIDENCE,
        "clips": "" if run.metrics is None else f" ({run.metrics.clips:,} clips)",
        "beside_views": _beside_views(run),
        "private": private,
        "privacy": f"{run.mode} differential privacy per {unit}" if private else "no privacy",
        "unit": unit,
        "style": Markup(STYLE),  # noqa: S704 — a constant of this package
        "cards": headline(run),
        "confusion": _confusion(run.metrics) if run.metrics else [],
        "figures": _figures(run),
        "epsilon_rounds": sorted({r for site in run.sites for r, _ in site.epsilon_by_round}),
        "lists": (
            ("Released exactly, without noise", run.released_exactly),
            ("Limits", run.limits),
        ),
        **_plots(run),
    }


def _plots(run: RunResult) -> dict[str, Markup | None]:
    spent = any(site.epsilon_by_round for site in run.sites)
    shown = run.metrics and any(uar is not None for uar in run.views.values())
    svgs = {
        "accuracy_svg": figures.accuracy_over_rounds(run),
        "epsilon_svg": figures.epsilon_over_rounds(run) if spent else None,
        "views_svg": figures.modality_bars(run) if shown else None,
    }
    # matplotlib has escaped the names in its SVG
    return {name: Markup(svg) if svg else None for name, svg in svgs.items()}  # noqa: S704


def _confusion(metrics: Metrics) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "cells": [{"clips": n, "share": n / max(1, sum(row_C))} for n in row_C],
        }
        for name, row_C in zip(metrics.classes, metrics.confusion_CC, strict=True)
    ]


def _figures(run: RunResult) -> list[dict[str, str]]:
    without = run.found_without_privacy
    open_ones = {one.name: one.text for one in figures_of(without)} if without else {}
    return [
        {
            "name": one.name,
            "value": one.text,
            "interval": one.interval,
            "open": open_ones.get(one.name, "–"),
        }
        for one in figures_of(run.found)
    ]


def _beside_views(run: RunResult) -> dict[str, Any]:
    """CCC of each dimension and F1 of the labels, with everything shown and in each view."""
    found, columns = run.found, {}
    for name, views in found.dimension_views.items():
        whole = found.dimensions[name].ccc.value
        columns[f"CCC of {name}"] = {"everything": whole, **views}
    if found.labels and found.label_views:
        whole = found.labels.macro_f1.value
        columns["macro F1 of labels"] = {"everything": whole, **found.label_views}
    names = next(iter(columns.values()), {})
    rows = [(v, [two_digits(column[v], "no clip") for column in columns.values()]) for v in names]
    return {"columns": tuple(columns), "rows": rows if len(rows) > 1 else []}
