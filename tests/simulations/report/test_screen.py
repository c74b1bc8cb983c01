import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from simulations.report import summary_screen


def shown(run, report=None, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(summary_screen(run, report))
    return console.file.getvalue()


def test_one_screen_says_what_was_reached_and_what_it_cost(finished_run):
    run = finished_run()
    screen = shown(run, Path("/runs/one/report.html"))
    for said in (
        "72 persons never seen",
        f"{100 * run.metrics.uar.value:.1f} %",
        f"{100 * run.metrics_without_privacy.weighted_f1.value:.1f} %",
        "chance",
        "ceiling",
        "7.90    0.10  1e-03  person  verified",
        "ledger verified at all 6 sites",
        "/runs/one/report.html",
    ):
        assert said in screen


@pytest.mark.parametrize("sites", [1, 6, 86])
def test_it_fits_a_screen(finished_run, sites):
    run = finished_run()
    many = tuple(
        replace(run.sites[0], name=f"a_rather_long_site_name_{i:02d}") for i in range(sites)
    )
    screen = shown(replace(run, sites=many), Path("/a/long/path" * 12) / "report.html")
    assert len(screen.splitlines()) <= 40
    assert max(map(len, screen.splitlines())) <= 80


def test_where_there_is_room_nothing_is_cut(finished_run):
    run = finished_run()
    long = replace(run, sites=(replace(run.sites[0], name="n" * 64), *run.sites[1:]))
    report = Path("/a/long/path" * 12) / "report.html"
    screen = shown(long, report, width=1000)
    assert "n" * 64 in screen
    assert str(report) in screen
    assert "…" not in shown(long, report)
    assert max(map(len, shown(run, Path("report.html"), width=1000).splitlines())) == 80


def test_a_broken_ledger_names_its_site(finished_run):
    run = finished_run()
    broken = (replace(run.sites[0], ledger_verified=False), *run.sites[1:])
    assert "ledger NOT verified at aspen" in shown(replace(run, sites=broken))


def test_a_run_without_privacy_shows_no_ledger(finished_run):
    screen = shown(finished_run(mode="none", rounds_without_privacy=()))
    assert "no privacy" in screen
    assert "ledger" not in screen
    assert "this model" in screen
