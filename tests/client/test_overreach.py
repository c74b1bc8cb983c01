"""A coordinator that asks for more than a site allows, from its first message to its exit code.

Each run goes through the real ServerApp and ClientApp. The site refuses before data is read and
keeps the reason; the coordinator keeps the word, and ends with 3 (privacy) or 4 (policy).
"""

import json
import re

import pytest

import server.app
from client.app import app as client_app
from common.errors import BudgetSpent, ExitCode, PolicyRefused, PrivacyError, Replayed
from server.app import app as server_app
from server.confirming import Confirming
from server.federate import first_model
from simulations.federation import run_in_process

LOCAL = ("privacy.mode=local",)
EVERY = ("harbour", "hill", "lake", "mill")
FREE = {"privacy__target_epsilon": "900"}
"""No coordinator of this project asks for more than its own study may cost; this one may."""


@pytest.fixture
def whose_data_was_read(monkeypatch):
    """The sites whose recordings are read from here on."""
    import client.session as module

    read, load = [], module.load_site_data

    def watched(study, manifest, *args, **options):
        read.append(manifest.parent.name)
        return load(study, manifest, *args, **options)

    monkeypatch.setattr(module, "load_site_data", watched)
    return read


def run(table, **asked: str) -> None:
    """A whole run under a study that was changed after the sites had written their policies."""
    config = {**table.config, **{k.replace("__", "."): v for k, v in asked.items()}}
    config = {key.replace("_", "-"): value for key, value in config.items()}
    run_in_process(server_app, client_app, len(table.sites), config)


def assert_recorded(table, error, code: ExitCode, word: str, sites=EVERY) -> None:
    """On both sides; and what ends the run names the sites and the kind, no number."""
    assert error.value.exit_code == code
    said = json.loads((table.root / "run" / "error.json").read_text())
    assert said["exit_code"] == int(code)
    assert said["message"] == str(error.value)
    assert ", ".join(sites) in said["message"]
    assert not re.search(r"\d|ε|δ", said["message"])
    notes = (table.root / "run" / "progress.jsonl").read_text()
    for site in EVERY:
        log = table.folder(site) / "site.log"
        lines = [json.loads(x) for x in log.read_text().splitlines()] if log.exists() else []
        assert any(x["word"] == word and x["reason"] for x in lines) == (site in sites)
        assert bool(re.search(f"{site} refused [a-z]*: {word}", notes)) == (site in sites)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"privacy__max_grad_norm": "1.5"}, "clips at C = 1.5; hill allows at most 1"),
        ({"privacy__unit": "record"}, "speaks of a record; hill keeps its budget by person"),
        ({"privacy__mode": "none"}, "without differential privacy"),
        ({"training__num_server_rounds": "9", **FREE}, "Rounds 1 to 8 are outside the 2 rounds"),
        ({"purpose": "marketing"}, "purpose 'marketing'"),
        ({"split__folds": "2"}, "into 2 folds"),
    ],
    ids=["larger clip", "another unit", "no privacy", "more rounds", "use", "folds"],
)
def test_what_the_policy_does_not_allow_ends_with_4(lay_table, whose_data_was_read, asked, reason):
    table = lay_table(*LOCAL)
    with pytest.raises(PolicyRefused) as error:
        run(table, **asked)
    assert_recorded(table, error, ExitCode.POLICY, "policy")
    assert reason in (table.folder("hill") / "site.log").read_text()
    assert whose_data_was_read == []


LESS_NOISE = {"privacy__noise_multiplier": "0.3", **FREE}


def test_less_noise_ends_with_3_and_the_sites_whose_cap_is_met(lay_table, whose_data_was_read):
    table = lay_table(*LOCAL)
    with pytest.raises(BudgetSpent, match="cap of harbour, hill, lake, mill is met") as error:
        run(table, **LESS_NOISE)
    assert_recorded(table, error, ExitCode.PRIVACY, "budget")
    assert whose_data_was_read == []


def test_one_site_whose_cap_is_met_is_named_alone(lay_table, whose_data_was_read):
    table = lay_table(*LOCAL)
    table.change_policy("lake", max_epsilon=0.5)
    with pytest.raises(BudgetSpent, match="cap of lake is met") as error:
        run(table)
    assert_recorded(table, error, ExitCode.PRIVACY, "budget", ("lake",))
    assert "lake" not in whose_data_was_read


def test_more_rounds_than_the_cap_pays_for_end_with_3(lay_table):
    """The policy joins any number of rounds; the ledger does not."""
    table = lay_table(*LOCAL)
    for site in EVERY:
        table.change_policy(site, max_rounds=1000)
    sigma = str(table.study.privacy.noise_multiplier)
    many = {"training__num_server_rounds": "40", **FREE}
    with pytest.raises(BudgetSpent) as error:
        run(table, **many, privacy__noise_multiplier=sigma, training__evaluate_every="40")
    assert_recorded(table, error, ExitCode.PRIVACY, "budget")
    for site in EVERY:
        spent = table.session(site).ledger.spent("person", table.study.privacy.target_delta)
        assert spent <= table.study.privacy.target_epsilon


def tampered(monkeypatch, federate) -> None:
    """Put another loop over rounds in the coordinator's place."""
    monkeypatch.setattr(server.app, "federate", federate)


def test_rounds_beyond_the_study_end_with_4(lay_table, monkeypatch, whose_data_was_read):
    def federate(sums, folder, report, begun):
        sums.over("train", 3, first_model(sums), 3)

    tampered(monkeypatch, federate)
    table = lay_table(*LOCAL)
    with pytest.raises(PolicyRefused) as error:
        run(table)
    assert_recorded(table, error, ExitCode.POLICY, "policy")
    assert whose_data_was_read == []


def over_again(sums, number, attempt=0):
    """One training sum, with keys of its own, whatever was summed before."""
    model = {name: value + attempt for name, value in first_model(sums).items()}
    sums._keys.clear()
    sums._attempts["train"] = attempt
    sums.over("train", number, model, number)


@pytest.mark.parametrize("rounds", [(1, 1), (2, 1)], ids=["the same", "an earlier one"])
def test_a_replayed_round_ends_with_3(lay_table, monkeypatch, whose_data_was_read, rounds):
    def federate(sums, folder, report, begun):
        over_again(sums, rounds[0])
        whose_data_was_read.clear()
        over_again(sums, rounds[1])

    tampered(monkeypatch, federate)
    table = lay_table(*LOCAL)
    with pytest.raises(Replayed, match="was begun there before") as error:
        run(table)
    assert_recorded(table, error, ExitCode.PRIVACY, "replay")
    assert whose_data_was_read == []


def test_a_round_that_was_charged_is_not_replayed_where_the_locks_are_lost(
    lay_table, monkeypatch, whose_data_was_read
):
    table = lay_table(*LOCAL)

    def federate(sums, folder, report, begun):
        over_again(sums, 1)
        whose_data_was_read.clear()
        (table.folder("lake") / "locks.log").unlink()
        over_again(sums, 1, attempt=0)

    tampered(monkeypatch, federate)
    with pytest.raises(Replayed) as error:
        run(table)
    assert "harbour, hill, mill refused" in str(error.value)
    assert error.value.exit_code == ExitCode.PRIVACY
    assert whose_data_was_read == []


def test_another_attempt_at_a_round_on_the_same_model_over_other_sites_ends_with_3(
    lay_table, monkeypatch
):
    """A newer attempt is no replay; but over a model the sites confirm one set of sites only."""

    def federate(sums, folder, report, begun):
        sums.over("train", 1, first_model(sums), 1)
        sums._keys.clear()
        sums._attempts["train"] = 1
        sums.exchange.meeting.nodes.pop("lake")
        monkeypatch.setattr(sums.exchange.meeting, "there", lambda: ())
        sums._confirming = Confirming()
        sums.over("train", 1, first_model(sums), 1)

    tampered(monkeypatch, federate)
    table = lay_table(*LOCAL)
    with pytest.raises(PrivacyError, match="would break a privacy guarantee there") as error:
        run(table)
    assert_recorded(table, error, ExitCode.PRIVACY, "privacy", ("harbour", "hill", "mill"))


def test_a_study_under_another_unit_than_it_was_opened_with_ends_with_3(
    lay_table, whose_data_was_read
):
    """The sites would take the other unit, but not under the name of a study that has begun."""
    table = lay_table(*LOCAL)
    run(table, training__num_server_rounds="1")
    (table.root / "run" / "progress.jsonl").unlink()
    for site in EVERY:
        (table.folder(site) / "locks.log").unlink()
        table.change_policy(site, unit="record")
    whose_data_was_read.clear()
    with pytest.raises(PrivacyError) as error:
        run(table, privacy__unit="record", **FREE)
    assert_recorded(table, error, ExitCode.PRIVACY, "privacy")
    assert whose_data_was_read == []
