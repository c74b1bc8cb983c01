"""What a site publishes of its budget: by default nothing, else what its policy chose."""

import json

import pytest


def test_by_default_a_site_publishes_nothing(spent, tacit):
    code, out, said = tacit("publish", spent.folder())
    assert code == 4
    assert out == ""
    assert "publishes nothing" in said


def test_the_study_in_hand_alone(spent, tacit, fits):
    spent.change_policy(publish_budget="study")
    assert tacit("publish", spent.folder())[0] == 4
    code, out, _ = tacit("publish", spent.folder(), "--study", "moods")
    assert code == 0
    fits(json.loads(out), "budget-statement")
    assert "calls" not in out
    assert json.loads(out)["studies"][0]["rounds_affordable"] is None


def test_everything_reaches_the_coordinators_table(spent, tacit, fits):
    spent.change_policy(publish_budget="all")
    run = spent.root / "run"
    assert tacit("publish", spent.folder(), "--out", run / "budgets" / "hill.json")[0] == 0
    code, out, _ = tacit("federation", run, "--json")
    found = json.loads(out)
    fits(found, "budget-federation")
    assert code == 0
    assert [one["published"] for one in found["sites"]] == [True, False, False]
    assert [one["study"] for one in found["sites"][0]["studies"]] == ["moods", "calls"]
    code, out, _ = tacit("federation", run)
    assert code == 0
    assert "Published nothing: lake, mill." in out


def test_an_edited_statement_is_named_and_not_shown(spent, tacit):
    spent.change_policy(publish_budget="all")
    path = spent.root / "run" / "budgets" / "hill.json"
    tacit("publish", spent.folder(), "--out", path)
    path.write_text(path.read_text().replace('"rounds": 3', '"rounds": 1'))
    code, out, _ = tacit("federation", spent.root / "run")
    assert code == 0
    assert "hill: not believed" in out
    assert "moods" not in out


def test_a_folder_without_a_run_is_said(tmp_path, tacit):
    code, _, said = tacit("federation", tmp_path)
    assert code == 2
    assert "holds no run" in said


@pytest.mark.parametrize("choice", ["everything", ""])
def test_another_choice_is_refused(federation, choice, tacit):
    federation.change_policy(publish_budget=choice)
    code, _, said = tacit("publish", federation.folder())
    assert code == 2
    assert "publish_budget" in said
