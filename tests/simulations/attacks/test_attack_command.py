"""`tacit attack secagg`: what it prints, and how it exits."""

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

import tacit
from common.secagg import checks
from simulations.attacks import secagg
from simulations.attacks.outcome import Found, Observed, Said, nothing
from simulations.attacks.screen import WIDTH, attacks_screen
from simulations.attacks.secagg import TITLES, Attack, Attacks, attack_secagg

REFUSED = Observed(nothing(9), (), (Said("cedar", "share", "TooFewSites", "why " * 40),))
LEARNT = Observed(Found(9, 9, 1e-5), (), (), "It went so.")
ANSWERED = Observed(nothing(9), ("cedar share",), ())


def run(*options):
    done = CliRunner().invoke(tacit.app, ["attack", "secagg", *options])
    assert not done.exception or isinstance(done.exception, SystemExit), done.exception
    return done


def found(tacit_side, flower=LEARNT):
    attacks = tuple(Attack(name, flower, tacit_side) for name in TITLES)
    return Attacks(attacks, 0.5, LEARNT.found, secagg.Guessing(28, 10, 1e-4), 256)


def printed(attacks, width=WIDTH):
    out = io.StringIO()
    Console(file=out, width=width).print(attacks_screen(attacks))
    return out.getvalue()


@pytest.fixture
def only_two_lists(monkeypatch):
    """One attack alone, for speed."""
    monkeypatch.setattr(secagg, "TITLES", {"two_lists": TITLES["two_lists"]})


def test_a_check_that_is_taken_out_fails_the_command(only_two_lists, monkeypatch):
    monkeypatch.setattr(checks, "confirmations_suffice", lambda *_args: None)
    done = run()
    assert done.exit_code == 1
    assert "ANSWERED:" in done.stdout
    assert "Tacit did NOT withstand: Two lists" in done.stdout


def test_with_all_checks_the_command_is_content(only_two_lists):
    done = run("--json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert said["all_refused"] is True
    (one,) = said["attacks"]
    assert one["tacit"]["refused"] is True
    assert (one["tacit"]["recovered"], one["tacit"]["answered"]) == (0, [])
    assert {line["site"] for line in one["tacit"]["said"]} == set(said["sites"])
    assert one["flower"]["recovered"] == one["flower"]["values"] == 187
    assert said["flower_masks"]["bits"] == 28
    assert said["near_model"]["recovered"] == 187
    assert said["tacit_mask_bits"] == 256


def test_the_json_of_a_failure_says_so(only_two_lists, monkeypatch):
    monkeypatch.setattr(checks, "confirmations_suffice", lambda *_args: None)
    done = run("--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["all_refused"] is False


@pytest.mark.slow
def test_all_six_attacks(tmp_path):
    played = []
    attacks = attack_secagg(tmp_path, played.append)
    assert [one.name for one in attacks.attacks] == list(TITLES)
    assert played == [*(title for title, _ in TITLES.values()), "For information"]
    assert attacks.all_refused
    text = " ".join(printed(attacks).split())
    for one in attacks.attacks:
        assert one.title in text
        assert any(said.reason in text for said in one.tacit.said)


def test_the_screen_fits_100_columns_and_says_reasons_in_full():
    text = printed(found(REFUSED))
    assert max(map(len, text.splitlines())) <= 100
    assert " ".join(text.split()).count("why " * 39 + "why") == len(TITLES)
    assert "all six attacks were refused" in text
    assert "changed in its last digits" in " ".join(text.split())


def test_sites_with_one_reason_share_a_line():
    said = tuple(
        Said(site, "confirm", "TooFewSites", f"{site} joins no sum of 1")
        for site in ("aspen", "cedar", "hazel")
    )
    text = printed(found(Observed(nothing(9), (), said)))
    assert "cedar and 2 more at CONFIRM (TooFewSites):" in text
    assert text.count("joins no sum of 1") == len(TITLES)


@pytest.mark.parametrize("bad", [LEARNT, ANSWERED, Observed(nothing(9), (), ())])
def test_whatever_is_no_refusal_is_a_failure(bad):
    attacks = found(bad)
    assert not attacks.all_refused
    assert "did NOT withstand: Key swap" in printed(attacks)


def test_an_attack_that_flower_withstands_is_said_to_bring_nothing():
    text = printed(found(REFUSED, flower=REFUSED))
    assert "values recovered" not in text
    assert "Flower: cedar at SHARE" in text
