"""`tacit budget show`: the figures of a site's ledger, and what goes wrong when it is read."""

import json
import math
import shutil

import pytest

from client.budget.accounts import budget_of
from client.budget.places import find_places, look
from common.errors import ConfigError, LedgerError
from common.privacy import accountant
from common.privacy.events import ExactThroughSecureSum, Gaussian, PoissonSampledGaussian

STEPS = PoissonSampledGaussian(0.25, 2.0, 10, "person")
NOW = "2026-04-01T00:00:00+00:00"


def study(budget, name):
    return next(one for one in budget.studies if one.name == name)


def test_each_study_and_all_together(spent):
    budget = budget_of(spent.place(), NOW)
    moods, calls = study(budget, "moods"), study(budget, "calls")
    assert moods.spent == accountant.epsilon([STEPS.with_steps(30)], 1e-3)
    assert (moods.rounds, calls.rounds, budget.whole.rounds) == (3, 4, 7)
    assert max(moods.spent, calls.spent) < budget.whole.spent < moods.spent + calls.spent
    assert moods.left == 5.0 - moods.spent
    assert budget.whole.left == 8.0 - budget.whole.spent
    assert budget.exact[0].times == 2


def test_rounds_affordable_meet_the_cap_exactly(spent):
    moods = study(budget_of(spent.place(), NOW), "moods")
    more = moods.more_rounds
    steps = 30 + 10 * more
    assert accountant.epsilon([STEPS.with_steps(steps)], 1e-3) <= 5.0
    whole = budget_of(spent.place(), NOW).whole
    events = look(spent.site()).events()

    def over_site(rounds):
        return accountant.epsilon([*events, STEPS.with_steps(10 * rounds)], 1e-3) > whole.cap

    over_study = accountant.epsilon([STEPS.with_steps(steps + 10)], 1e-3) > 5.0
    assert over_study or over_site(more + 1)
    assert not over_site(more)


def test_the_sites_cap_limits_what_a_study_may_still_do(federation):
    federation.spend("a", rounds=3, cap=math.inf)
    alone = study(budget_of(federation.place(), NOW), "a").more_rounds
    federation.spend("b", rounds=8, cap=math.inf)
    assert study(budget_of(federation.place(), NOW), "a").more_rounds < alone


def test_onlookers_see_less_or_more(spent):
    by = study(budget_of(spent.place(), NOW), "calls").by
    assert by.outside < by.coordinator < by.broken
    assert by.colluding_sites == 1
    local = study(budget_of(spent.place(), NOW), "moods").by
    assert local.outside == local.coordinator == local.broken
    assert local.colluding_sites is None


def test_a_round_that_broke_off_counts_in_full(spent):
    before = budget_of(spent.place(), NOW).whole
    with spent.ledger() as ledger:
        ledger.reserve("moods", STEPS, round=99)
    after = budget_of(spent.place(), NOW).whole
    assert after.spent > before.spent
    assert after.unfinished == 1


def test_model_updates_without_noise_are_said(federation, tacit):
    event = ExactThroughSecureSum("model updates", 3)
    federation.spend("open", event)
    budget = budget_of(federation.place(), NOW)
    assert budget.whole.is_exact
    assert budget.whole.spent == 0
    assert budget.whole.more_rounds is None
    assert budget.whole.right_of_hundred == budget.studies[0].right_of_hundred == 100
    code, out, _ = tacit("show", federation.folder())
    said = " ".join(out.split())
    assert code == 0
    assert "no ε speaks of them" in said
    assert "nothing bounds how surely somebody can tell whether a given person took part" in said
    assert "can be right" not in said
    assert "not differentially private" in said


def test_no_noise_is_no_bound(federation, tacit):
    federation.change_policy(max_epsilon=1000.0)
    with federation.ledger() as ledger:
        from common.privacy.ledger import Opening

        ledger.open_study(Opening("s", "person", 1e-3, math.inf, math.inf, 1e-3))
        ledger.commit(ledger.reserve("s", Gaussian(0.0, 1, "person"), round=1))
    code, out, _ = tacit("show", federation.folder())
    assert code == 0
    assert "no bound" in out
    _, out, _ = tacit("show", federation.folder(), "--json")
    assert json.loads(out)["sites"][0]["all"]["epsilon_spent"] is None


def test_json_fits_the_schema(spent, tacit, fits):
    code, out, said = tacit("show", spent.folder(), "--json")
    assert (code, said) == (0, "")
    found = json.loads(out)
    fits(found, "budget-show")
    assert found["sites"][0]["exact"][0]["guarantee"] == "not differentially private"


def test_every_site_of_a_run_is_shown(spent, tacit, fits):
    for path in (spent.root, spent.root / "run"):
        code, out, _ = tacit("show", path, "--json")
        found = json.loads(out)
        fits(found, "budget-show")
        assert code == 0
        assert [one["site"] for one in found["sites"]] == ["hill", "lake", "mill"]
        assert [one["founded"] for one in found["sites"]] == [True, False, False]
    labels = [place.label for place in find_places(spent.root)]
    assert labels == ["run/hill", "run/lake", "run/mill"]


def test_the_table_names_study_unit_cap_and_odds(spent, tacit):
    code, out, _ = tacit("show", spent.folder())
    assert code == 0
    for word in ("moods", "calls", "all", "person", "5.00", "8.00", "Of 100 guesses", "with 1"):
        assert word in out


# What goes wrong


def test_a_site_that_never_took_part_has_spent_nothing(federation, tacit):
    assert not budget_of(federation.place(), NOW).founded
    code, out, _ = tacit("show", federation.folder())
    assert code == 0
    assert "nothing spent" in out
    assert list(federation.folder().glob("ledger*")) == []


def test_a_ledger_in_which_nothing_was_charged(federation, tacit):
    federation.ledger().close()
    code, out, _ = tacit("show", federation.folder())
    assert code == 0
    assert "0.00" in out


def test_a_ledger_that_is_gone_is_not_an_empty_one(spent, tacit):
    (spent.folder() / "ledger.sqlite").unlink()
    (spent.folder() / "locks.log").touch()
    code, _, said = tacit("show", spent.folder())
    assert code == 3
    assert "the ledger is gone" in said


@pytest.mark.parametrize(
    ("path", "says"),
    [("nowhere", "is not a folder"), ("empty", "is not a site's folder"), ("file", "not a folder")],
)
def test_what_is_no_site_is_said(tmp_path, tacit, path, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    code, _, said = tacit("show", tmp_path / path)
    assert code == 2
    assert says in said


def test_a_corrupt_ledger_is_said(spent, tacit):
    file = spent.folder() / "ledger.sqlite"
    file.write_bytes(file.read_bytes().replace(b'"steps":10', b'"steps":11'))
    code, out, said = tacit("show", spent.folder())
    assert code == 3
    assert "entry 3 was altered" in said
    assert out == ""


def test_a_damaged_file_is_said(spent, tacit):
    file = spent.folder() / "ledger.sqlite"
    file.write_bytes(file.read_bytes()[:100] + b"\xff" * 4000 + file.read_bytes()[4100:])
    code, _, said = tacit("show", spent.folder())
    assert code == 3
    assert "ledger" in said


@pytest.mark.parametrize("content", [b"", b"hello, this is no ledger" * 100])
def test_another_file_is_no_ledger(spent, tacit, content):
    (spent.folder() / "ledger.sqlite").write_bytes(content)
    code, _, said = tacit("show", spent.folder())
    assert code == 3
    assert "ledger" in said


def test_another_sites_ledger_is_refused(spent):
    shutil.copy(spent.folder() / "ledger.sqlite", spent.folder("lake") / "ledger.sqlite")
    with pytest.raises(LedgerError, match="belongs to site 'hill'"):
        look(spent.site("lake"))


def test_a_ledger_that_others_may_read_is_refused(spent):
    (spent.folder() / "ledger.sqlite").chmod(0o644)
    with pytest.raises(LedgerError, match="chmod 600"):
        look(spent.site())


def test_a_read_only_copy_is_read_all_the_same(spent):
    file = spent.folder() / "ledger.sqlite"
    before = budget_of(spent.place(), NOW).whole.spent
    file.chmod(0o400)
    spent.folder().chmod(0o500)
    try:
        assert budget_of(spent.place(), NOW).whole.spent == before
    finally:
        spent.folder().chmod(0o700)


def test_reading_changes_nothing(spent):
    file = spent.folder() / "ledger.sqlite"
    before, names = file.read_bytes(), sorted(path.name for path in spent.folder().iterdir())
    look(spent.site())
    assert file.read_bytes() == before
    assert sorted(path.name for path in spent.folder().iterdir()) == names


def test_a_ledger_in_use_is_read_as_it_stands(spent):
    with spent.ledger() as ledger:
        ledger.reserve("moods", STEPS, round=200)
        assert look(spent.site()).head == ledger.head()


def test_a_report_of_many_sites_as_json_asks_for_one(spent, tacit):
    code, _, said = tacit("report", spent.root, "--json")
    assert code == 2
    assert "name one of them" in said


def test_a_policy_that_does_not_fit_is_said(federation):
    (federation.folder() / "policy.yaml").write_text("max_epsilo: 3\n")
    with pytest.raises(ConfigError, match="line 1"):
        federation.place()
