"""A report as one HTML file that needs no other, and prints on A4."""

from datetime import datetime
from typing import Any

import jinja2
from markupsafe import Markup

from client.budget import figures
from client.budget.tables import epsilon
from client.budget.template import BODY, STYLE


def render(report: dict[str, Any], signature: dict[str, Any]) -> str:
    """Return the page; equal reports give equal pages.

    Args:
        report: what `reporting.report` returned, read back from JSON.
        signature: the site's, over the JSON.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "eps": epsilon,
        "when": when,
        "mechanism": mechanism,
        "day": day,
        "year": year,
    }
    whole = report["all"]
    noised = any(event["event"] != "exact_through_secure_sum" for event in whole["events"])
    return environment.from_string(BODY).render(
        r=report,
        a=whole,
        accounts=[*report["studies"], whole] if len(report["studies"]) > 1 else report["studies"],
        signature=signature,
        plain=in_words(whole),
        catch=catch(whole["trade_off"]),
        coordinator=coordinator(whole["epsilon_by_onlooker"]["colluding_sites"]),
        noised=noised,
        # the constants and matplotlib's SVG, in which names are escaped
        style=Markup(STYLE),  # noqa: S704
        curve_svg=Markup(figures.epsilon_over_charges(report)) if noised else None,  # noqa: S704
        trade_svg=Markup(figures.trade_off(report)) if noised else None,  # noqa: S704
    )


def in_words(account: dict[str, Any]) -> str:
    """Say what an account means to somebody who was recorded."""
    right, unit = account["right_of_100_guesses"], account["unit"]
    whom = "a given person took part" if unit == "person" else "a given recording was used"
    if account["model_updates_exact"]:
        return (
            "Model updates left without noise, inside secure sums only: nothing bounds how surely "
            f"somebody who knows all other contributions can tell whether {whom}."
        )
    if account["epsilon_spent"] is None:
        return f"Nothing bounds how surely somebody can tell whether {whom}."
    if account["epsilon_spent"] == 0:
        return f"Nothing with noise was released, so nothing of it tells whether {whom}."
    return (
        "Somebody who knows everything else and sees all that was released with noise, and who "
        f"guesses whether {whom}, is right in at most {right} of 100 guesses. A coin: 50."
    )


def catch(points: list[dict[str, float]]) -> str:
    """Say one point of the trade-off curve in words: a test that is wrong in 5 % of cases."""
    point = min(points, key=lambda p: abs(p["alpha"] - 0.05))
    found = 1 - point["beta"]
    return (
        f"A test that accuses {point['alpha']:.0%} of those who did not take part finds at most "
        f"{found:.0%} of those who did."
    )


def coordinator(colluding: int | None) -> str:
    """Name the coordinator with those who may help it."""
    if colluding is None:
        return "the coordinator"
    return f"the coordinator together with {colluding} colluding site{'s' * (colluding != 1)}"


def day(at: str | None) -> str:
    """Write a day of the year."""
    return "–" if not at else f"{datetime.fromisoformat(at):%d %b}"


def year(at: str | None) -> str:
    """Write the year, and the time of the day."""
    return "nothing was charged" if not at else f"{datetime.fromisoformat(at):%Y, %H:%M} UTC"


def when(at: str | None) -> str:
    """Write a time, UTC, to the minute."""
    return "never" if not at else at[:16].replace("T", " ") + " UTC"


def mechanism(event: dict[str, Any]) -> str:
    """Say what an event of the ledger is."""
    texts = {
        "poisson_sampled_gaussian": "{steps} noised sums; noise σ = {noise_multiplier:g}, "
        "sampling rate q = {sampling_rate:g}",
        "gaussian": "{count} noised statistics; noise σ = {noise_multiplier:g}",
        "discrete_gaussian_share": "{steps} noised sums; noise σ = {noise_multiplier:g} from "
        "{honest} honest sites of {total}, sampling rate q = {sampling_rate:g}",
        "exact_through_secure_sum": "{what}: exact; at least {min_persons} persons, by policy",
    }
    return texts[event["event"]].format(**event)
