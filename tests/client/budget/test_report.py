"""`tacit budget report`: one page that needs nothing else, its data, and the site's signature."""

import json
import re
from html.parser import HTMLParser

import pytest

from client.budget.history import MOST_POINTS, curve
from client.budget.places import look
from client.budget.reporting import report, write_report
from common.errors import ConfigError, EnvironmentFault
from common.privacy import accountant
from common.privacy.events import ExactThroughSecureSum, PoissonSampledGaussian

NOW = "2026-04-01T00:00:00+00:00"
STEPS = PoissonSampledGaussian(0.25, 2.0, 10, "person")


class Page(HTMLParser):
    """Every attribute and every word of a page."""

    def __init__(self, text):
        super().__init__()
        self.attributes, self.words, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def written(spent, tmp_path):
    return write_report(spent.place(), tmp_path / "out", NOW)


def test_the_data_fit_the_schema_and_say_what_show_says(spent, written, fits, tacit):
    found = json.loads(written.data.read_text())
    fits(found, "budget-report")
    shown = json.loads(tacit("show", spent.folder(), "--json")[1])["sites"][0]
    for name, value in shown["all"].items():
        assert found["all"][name] == value
    assert found["exact"] == shown["exact"]
    assert found["studies"][0]["clipping_norms"] == [0.5]


def test_the_page_needs_nothing_from_elsewhere(written):
    page = Page(written.page.read_text())
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "data", "action"):
            assert value.startswith("#"), (tag, name, value)
    assert not re.search(r"url\((?!#)", written.page.read_text())
    assert "@import" not in written.page.read_text()


def test_the_page_says_what_an_officer_asks(written):
    text = Page(written.page.read_text()).text
    for word in (
        "Privacy account of hill",
        "moods",
        "calls",
        "per person",
        "of 100 guesses",
        "evaluation counts",
        "not differentially private",
        "1 colluding site",
        "if secure aggregation were broken outright",
        "What is not covered",
        "recorded at two sites spends at both",
        "What this rests on",
        "all together",
    ):
        assert word in text, word
    assert Page(written.page.read_text()).tags.count("svg") == 2


def test_names_from_a_study_cannot_become_markup(federation, tmp_path):
    federation.spend('<img src="http://x">&')
    page = write_report(federation.place(), tmp_path, NOW).page.read_text()
    assert "<img" not in page
    assert "http://x" not in page.replace("&lt;img src=&#34;http://x&#34;", "").replace(
        "&lt;img src=&quot;http://x&quot;", ""
    ).replace('&lt;img src="http://x"', "")


def test_equal_reports_give_equal_files(spent, tmp_path):
    one = write_report(spent.place(), tmp_path / "a", NOW)
    two = write_report(spent.place(), tmp_path / "b", NOW)
    assert one.page.read_bytes() == two.page.read_bytes()
    assert one.data.read_bytes() == two.data.read_bytes()


def test_the_signature_is_checked_by_verify(spent, written, tacit):
    given = ("verify", spent.folder(), "--report", written.data)
    assert tacit(*given)[0] == 0
    text = written.data.read_text()
    written.data.write_text(text.replace('"epsilon_cap": 8.0', '"epsilon_cap": 9.0'))
    code, out, _ = tacit(*given, "--json")
    assert code == 3
    assert "not that of hill" in json.loads(out)["sites"][0]["problem"]
    written.data.write_text(text)
    assert tacit("verify", spent.folder("lake"), "--report", written.data)[0] == 3


def test_a_report_of_a_ledger_that_was_put_back_is_found(federation, tmp_path, tacit):
    federation.spend(rounds=2)
    file = federation.folder() / "ledger.sqlite"
    backup = file.read_bytes()
    federation.spend(rounds=1)
    made = write_report(federation.place(), tmp_path, NOW)
    file.write_bytes(backup)
    code, out, _ = tacit("verify", federation.folder(), "--report", made.data, "--json")
    assert code == 3
    assert "older copy" in json.loads(out)["sites"][0]["problem"]


@pytest.mark.parametrize("content", ["{}", "no JSON", '{"site": "hill", "signature": "zz"}'])
def test_a_signature_that_is_none_is_said(spent, written, tacit, content):
    written.signature.write_text(content)
    code, out, _ = tacit("verify", spent.folder(), "--report", written.data, "--json")
    assert code == 3
    assert "is no signature" in json.loads(out)["sites"][0]["problem"]


def test_a_report_without_its_signature_is_said(spent, written, tacit):
    written.signature.unlink()
    code, out, _ = tacit("verify", spent.folder(), "--report", written.data, "--json")
    assert code == 3
    assert "cannot be read" in json.loads(out)["sites"][0]["problem"]


def test_the_curve_ends_at_what_was_spent_and_never_falls_without_a_commit(federation):
    federation.change_policy(max_epsilon=100.0)
    federation.spend(rounds=3, cap=50.0)
    view = look(federation.site())
    points = curve(view, None, "person", 1e-3)
    assert points[-1].epsilon == view.spent("person", 1e-3)
    assert [p.epsilon for p in points] == [
        accountant.epsilon([STEPS.with_steps(10 * n)], 1e-3) for n in (1, 2, 3)
    ]
    assert [p.at for p in points] == sorted(p.at for p in points)


def test_a_commit_of_fewer_steps_lowers_the_curve(federation):
    federation.spend(rounds=1)
    with federation.ledger() as ledger:
        ledger.commit(ledger.reserve("moods", STEPS, round=9), steps=2)
    first, reserved, committed = curve(look(federation.site()), "moods", "person", 1e-3)
    assert first.epsilon < committed.epsilon < reserved.epsilon


def test_a_long_history_is_thinned_and_keeps_its_end(federation):
    small = PoissonSampledGaussian(0.01, 8.0, 1, "person")
    federation.spend(event=small, rounds=MOST_POINTS + 30)
    view = look(federation.site())
    points = curve(view, None, "person", 1e-3)
    assert len(points) == MOST_POINTS
    assert points[-1].seq == [c for c in view.changes if c.steps][-1].seq


def test_an_empty_account_makes_a_page_too(federation, tmp_path, fits):
    made = write_report(federation.place(), tmp_path, NOW)
    fits(json.loads(made.data.read_text()), "budget-report")
    text = Page(made.page.read_text()).text
    assert "no ledger yet" in text
    assert "nothing was charged" in text


def test_a_page_on_model_updates_without_noise_promises_nothing(federation, tmp_path, fits):
    federation.spend("open", ExactThroughSecureSum("model updates", 3))
    made = write_report(federation.place(), tmp_path, NOW)
    fits(json.loads(made.data.read_text()), "budget-report")
    assert json.loads(made.data.read_text())["all"]["right_of_100_guesses"] == 100
    text = Page(made.page.read_text()).text
    assert "nothing bounds how surely" in text
    assert "nothing of it tells" not in text


def test_warnings_of_delta_seed_and_exact_updates(federation, fits):
    federation.change_policy(declared_persons=600, reproducible_seed=1)
    federation.spend(delta=1e-2)
    found = report(federation.place(), NOW)
    fits(found, "budget-report")
    said = " ".join(found["warnings"])
    assert "above 1/600" in said
    assert "1 is advised" not in said
    assert "protects nobody" in said
    assert "comes from a seed" in said


def test_a_folder_that_cannot_be_written_is_said(spent, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        write_report(spent.place(), tmp_path / "file" / "out", NOW)


def test_a_site_without_its_key_cannot_sign(spent, tmp_path):
    (spent.folder() / "identity.key").unlink()
    with pytest.raises(ConfigError, match=r"identity\.key"):
        write_report(spent.place(), tmp_path, NOW)
    assert list(tmp_path.glob("budget*")) == []


def test_nothing_secret_and_no_path_is_in_a_report(spent, written):
    key = (spent.folder() / "identity.key").read_text().strip()
    for path in (written.page, written.data, written.signature):
        assert key not in path.read_text()
        assert str(spent.root) not in path.read_text()
