"""`tacit budget export`: another accountant reads it and finds the same ε."""

import json

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from client.budget.exporting import plain
from common.privacy.events import Gaussian, PoissonSampledGaussian


def rebuilt(record):
    """The DpEvent that a JSON object names, by dp_accounting's own classes."""
    assert record["module_name"] == "dp_accounting.dp_event"
    fields = {k: v for k, v in record.items() if k not in ("module_name", "class_name")}
    made = {name: inner(value) for name, value in fields.items()}
    return getattr(dp_accounting, record["class_name"])(**made)


def inner(value):
    if isinstance(value, dict):
        return rebuilt(value)
    return [inner(one) for one in value] if isinstance(value, list) else value


def test_another_accountant_finds_the_same_epsilon(spent, tacit, fits):
    code, out, said = tacit("export", spent.folder())
    assert (code, said) == (0, "")
    found = json.loads(out)
    fits(found, "budget-export")
    assert [one["study"] for one in found["studies"]] == ["moods", "calls"]
    for study in found["studies"]:
        accountant = PLDAccountant(value_discretization_interval=1e-4)
        accountant.compose(rebuilt(study["dp_event"]))
        theirs = accountant.get_epsilon(study["delta"])
        assert theirs * (1 - 1e-4) <= study["epsilon"] <= theirs * 1.01
        by_rdp = RdpAccountant().compose(rebuilt(study["dp_event"])).get_epsilon(study["delta"])
        assert study["epsilon"] <= by_rdp


def test_exact_numbers_stand_apart(spent, tacit):
    study = json.loads(tacit("export", spent.folder())[1])["studies"][0]
    assert study["exact"] == [{"what": "evaluation counts", "min_persons": 3}]
    assert "NonPrivate" not in json.dumps(study["dp_event"])
    assert study["by_another_unit"] == 0


def test_an_event_of_another_unit_is_counted_and_left_out(federation, tacit):
    federation.spend()
    with federation.ledger() as ledger:
        record = Gaussian(4.0, 1, "record")
        opening = ledger.studies()["moods"].opening
        assert opening.unit == "person"
        from dataclasses import replace

        ledger.open_study(replace(opening, study_epsilon=float("inf"), site_epsilon=float("inf")))
        ledger.commit(ledger.reserve("moods", record, round=90, what="statistic"))
    study = json.loads(tacit("export", federation.folder())[1])["studies"][0]
    assert study["by_another_unit"] == 1


def test_an_empty_account_is_exported_too(federation, tacit, fits):
    code, out, _ = tacit("export", federation.folder())
    assert code == 0
    fits(json.loads(out), "budget-export")
    assert json.loads(out)["studies"] == []


def test_many_sites_are_not_exported_at_once(spent, tacit):
    code, _, said = tacit("export", spent.root)
    assert code == 2
    assert "name one of them" in said


@pytest.mark.parametrize(
    "event",
    [
        dp_accounting.GaussianDpEvent(1.5),
        dp_accounting.ComposedDpEvent([dp_accounting.GaussianDpEvent(2.0)]),
        dp_accounting.SelfComposedDpEvent(
            dp_accounting.PoissonSampledDpEvent(0.2, dp_accounting.GaussianDpEvent(1.0)), 7
        ),
    ],
)
def test_an_event_reads_back(event):
    assert rebuilt(json.loads(json.dumps(plain(event)))) == event


def test_the_study_by_record_keeps_its_unit(federation, tacit):
    from common.privacy.ledger import Opening

    steps = PoissonSampledGaussian(0.1, 2.0, 5, "record")
    infinity = float("inf")
    with federation.ledger() as ledger:
        ledger.open_study(Opening("r", "record", 1e-4, infinity, infinity, 1e-3))
        ledger.commit(ledger.reserve("r", steps, round=1))
    study = json.loads(tacit("export", federation.folder())[1])["studies"][0]
    assert (study["unit"], study["by_another_unit"]) == ("record", 0)
