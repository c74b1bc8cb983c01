"""A finished run as one HTML file that needs no other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from common.affect import Estimate, Metrics
from common.errors import EnvironmentFault
from simulations.report import figures
from simulations.report.run import RunResult
from simulations.report.template import BODY, STYLE


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
    metrics, without = run.metrics, run.metrics_without_privacy
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
    return (*cards, *_privacy_cards(run))


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
        "open": run.metrics_without_privacy,
        "open_rounds": {p.round: percent(p.metrics.uar.value) for p in run.rounds_without_privacy},
        "private": private,
        "privacy": f"{run.mode} differential privacy per {unit}" if private else "no privacy",
        "unit": unit,
        "style": Markup(STYLE),  # noqa: S704 — a constant of this package
        "cards": headline(run),
        "confusion": _confusion(run.metrics),
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
    shown = any(uar is not None for uar in run.views.values())
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
    found, without = _named(run.metrics), {}
    if run.metrics_without_privacy:
        without = _named(run.metrics_without_privacy)
    return [
        {"name": name, "value": value, "interval": span, "open": without.get(name, ("–", ""))[0]}
        for name, (value, span) in found.items()
    ]


def _named(metrics: Metrics) -> dict[str, tuple[str, str]]:
    estimates = {
        "UAR": metrics.uar,
        "weighted F1": metrics.weighted_f1,
        "macro F1": metrics.macro_f1,
        "accuracy": metrics.accuracy,
    }
    return {
        **{name: (percent(found.value), interval(found)) for name, found in estimates.items()},
        **{f"recall of {name}": (percent(share), "") for name, share in metrics.recall.items()},
        "log-loss, nats": (f"{metrics.log_loss:.3f}", ""),
        "calibration error": (percent(metrics.calibration_error), ""),
    }
