import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from common.errors import EnvironmentFault
from simulations.report import write_report
from simulations.report.page import render_page

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Checker(HTMLParser):
    """Keeps what was opened, so that a tag that is never closed shows."""

    def __init__(self):
        super().__init__()
        self.open, self.tables, self.text = [], 0, []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.tables += tag == "table"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def checked(page):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return checker


def words(page):
    return re.sub(r"\s+", " ", " ".join(checked(page).text))


def test_the_page_is_one_file_that_needs_no_other(finished_run, tmp_path):
    path = write_report(finished_run(), tmp_path / "runs" / "one")
    assert path == tmp_path / "runs" / "one" / "report.html"
    page = path.read_text(encoding="utf-8")
    checked(page)
    assert not re.findall(r"<(?:link|script|img|iframe|object)\b", page)
    assert not re.findall(r"@import|url\((?!#)", page)
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(target.startswith("#") for target in loaded)


def test_headline_figures_are_those_of_the_run(finished_run):
    run = finished_run()
    text = words(render_page(run))
    for said in (
        f"UAR {100 * run.metrics.uar.value:.1f} %",
        f"Weighted F1 {100 * run.metrics.weighted_f1.value:.1f} %",
        "Chance 20.0 %",
        f"Without privacy {100 * run.metrics_without_privacy.uar.value:.1f} %",
        "Ceiling 93.0 %",
        "ε spent 7.40 to 7.90",
        "per person, at each site",
        "Ledger verified",
        "72 persons (360 clips)",
        "Counts of right answers over all sites together.",
        "A person treated at two sites spends at both.",
        "privacy.target_epsilon 8.0",
        "without video no clip",
    ):
        assert said in text


def test_every_plot_is_named_and_stands_as_a_table_too(finished_run):
    page = render_page(finished_run())
    plots = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(plots) == 3
    for plot in plots:
        root = ElementTree.fromstring(plot)
        assert root.attrib["role"] == "img"
        assert "plot" in root.attrib["aria-label"]
    assert page.count("As a table</summary>") == 3


def test_plots_take_the_colour_of_the_page(finished_run):
    page = render_page(finished_run())
    assert "currentColor" in page
    assert "#010203" not in page


def test_equal_runs_give_equal_pages(finished_run):
    assert render_page(finished_run()) == render_page(finished_run())


def test_a_ledger_that_does_not_hold_is_said_where_it_is_seen(finished_run):
    run = finished_run()
    broken = (replace(run.sites[0], ledger_verified=False), *run.sites[1:])
    text = words(render_page(replace(run, sites=broken)))
    assert "Ledger not verified verified at 5 of 6" in text


def test_a_run_without_privacy_says_so(finished_run):
    run = finished_run(mode="none", rounds_without_privacy=())
    bare = tuple(
        replace(site, epsilon_by_round=(), epsilon_spent=None, delta=None) for site in run.sites
    )
    page = render_page(replace(run, sites=bare))
    text = words(page)
    assert "no differential privacy in this run" in text
    assert "Privacy spent over rounds" not in text
    assert "ledger" not in text.lower()


def test_what_is_not_known_is_left_out(finished_run):
    run = finished_run(views={}, ceiling=None, settings={}, limits=(), released_exactly=())
    text = words(render_page(run))
    for absent in ("Ceiling", "What each modality", "Settings", "Limits", "Released"):
        assert absent not in text


def test_a_site_that_does_not_tell_its_numbers_is_shown_so(finished_run):
    run = finished_run()
    silent = (replace(run.sites[0], persons=None, clips=None, epsilon_limit=None), *run.sites[1:])
    text = words(render_page(replace(run, sites=silent)))
    assert "aspen not told not told" in text
    assert "no limit" in text


def test_names_cannot_change_the_page(finished_run):
    nasty = '<script>alert("x")</script>&'
    run = finished_run(study=nasty, settings={nasty: nasty}, views={f"only {nasty}": 0.5})
    run = replace(run, sites=(replace(run.sites[0], name=nasty), *run.sites[1:]))
    page = render_page(run)
    checked(page)
    assert "<script" not in page


def test_a_run_of_one_round_at_many_sites_is_drawn(finished_run):
    run = finished_run()
    site = run.sites[0]
    many = tuple(replace(site, name=f"site{i:02d}") for i in range(86))
    page = render_page(replace(run, rounds=run.rounds[-1:], sites=many))
    assert "site00, site01, site02 and 83 more" in words(page)


def test_a_folder_that_cannot_be_written_is_named(finished_run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentFault, match="the report cannot be written"):
        write_report(finished_run(), tmp_path / "file" / "report.html")
