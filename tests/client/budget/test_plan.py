"""`tacit budget plan`: what an ε asks for, with no data touched."""

import json
import math

import pytest

from client.budget.asking import setting_from
from client.budget.measured import MEASURED, neighbours
from client.budget.planning import noise_to_signal, planned
from common.privacy import accountant, plan
from common.privacy.events import PoissonSampledGaussian


def setting(persons=40, sites=6, parameters=100, mode="local", **changes):
    given = {"num_server_rounds": 4, "local_steps": 5, "mode": mode, **changes}
    return setting_from(None, persons, sites, parameters, given)


def test_sigma_is_the_least_that_meets_the_target():
    row = planned(setting(), 2.0)
    assert row.noise_multiplier == plan.calibrate(2.0, 1e-3, 0.25, 20)
    assert row.spent <= 2.0
    cheaper = [PoissonSampledGaussian(0.25, row.noise_multiplier * 0.998, 20, "person")]
    assert accountant.epsilon(cheaper, 1e-3) > 2.0


def test_a_given_sigma_answers_with_rounds():
    row = planned(setting(noise_multiplier=2.0), 2.0)
    assert row.noise_multiplier == 2.0
    steps = [
        PoissonSampledGaussian(0.25, 2.0, 5 * n, "person") for n in (row.rounds, row.rounds + 1)
    ]
    within, beyond = (accountant.epsilon([one], 1e-3) for one in steps)
    assert within <= 2.0 < beyond


def test_distributed_noise_is_less_and_says_against_whom():
    local, shared = planned(setting(), 4.0), planned(setting(mode="distributed"), 4.0)
    assert shared.by.outside < shared.by.coordinator <= 4.0 < shared.by.broken
    assert shared.by.colluding_sites == 1
    assert local.by.colluding_sites is None
    steps = {"local_steps": 1}
    once = setting(**steps)
    ratio_local = noise_to_signal(once, 1.0)
    ratio_shared = noise_to_signal(setting(mode="distributed", **steps), 1.0)
    assert ratio_shared == pytest.approx(ratio_local / math.sqrt(4))


def test_noise_falls_with_persons_sites_and_rounds_and_grows_with_the_model():
    base = noise_to_signal(setting(), 1.0)
    assert noise_to_signal(setting(persons=80), 1.0) == pytest.approx(base / 2)
    assert noise_to_signal(setting(sites=24), 1.0) == pytest.approx(base / 2)
    assert noise_to_signal(setting(num_server_rounds=16), 1.0) == pytest.approx(base / 2)
    assert noise_to_signal(setting(parameters=400), 1.0) == pytest.approx(base * 2)
    assert noise_to_signal(setting(persons=None), 1.0) is None


def test_the_measured_studies_stand_in_order_and_are_neighbours():
    ratios = [one.noise_to_signal for one in MEASURED]
    assert ratios == sorted(ratios)
    less, more = neighbours(0.4)
    assert less.noise_to_signal < 0.4 < more.noise_to_signal
    assert neighbours(0.01) == (None, MEASURED[0])
    assert neighbours(1e6) == (MEASURED[-1], None)
    assert all(0 < one.kept < 1 for one in MEASURED)


def test_json_fits_the_schema(tacit, fits):
    code, out, said = tacit("plan", "--persons", 40, "--epsilon", 2, "--rounds", 2, "--json")
    assert (code, said) == (0, "")
    found = json.loads(out)
    fits(found, "budget-plan")
    assert [row["target_epsilon"] for row in found["rows"]] == [2.0]
    code, out, _ = tacit("plan", "--epsilon", 3, "--rounds", 1, "--mode", "distributed", "--json")
    fits(json.loads(out), "budget-plan")


def test_a_study_gives_its_own_numbers(tacit):
    given = ("plan", "cremad_votes", "privacy.mode=local", "training.num_server_rounds=3")
    _, out, _ = tacit(*given, "--epsilon", 4, "--json")
    found = json.loads(out)
    assert (found["study"], found["rounds"], found["parameters"]) == ("cremad_votes", 3, 96)


def test_without_a_target_the_table_has_one_two_four_eight(tacit):
    code, out, _ = tacit("plan", "--persons", 40, "--rounds", 1, "--steps", 1)
    assert code == 0
    first = [line.split()[0] for line in out.splitlines() if line.strip()[:1].isdigit()]
    assert first[:4] == ["1", "2", "4", "8"]
    assert "no promise" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--persons", 200, "--delta", 0.001), "above 1/2000"),
        (("--persons", 2, "--delta", 0.001), "most are noise alone"),
        ((), "without --persons"),
    ],
)
def test_what_should_worry_is_said(tacit, arguments, says):
    code, out, _ = tacit("plan", *arguments, "--epsilon", 8, "--rounds", 1)
    assert code == 0
    assert says in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--persons", 40, "--delta", 0.1), "protects nobody"),
        (("--rate", 0), "--rate"),
        (("--rounds", 0), "--rounds"),
        (("--persons", 0), "--persons"),
        (("--mode", "none"), "--mode"),
        (("--mode", "distributed", "--sites", 2), "--sites"),
        (("--epsilon", -1), "--epsilon"),
        (("--noise-multiplier", 0), "--noise-multiplier"),
        (("no-such-study",), "no study"),
        (("cremad_votes", "privacy.mod=local"), "mode"),
        (("--unit", "site"), "--unit"),
        (("--delta", 2), "--delta"),
    ],
)
def test_a_number_that_does_not_fit_is_said(tacit, arguments, says):
    code, out, said = tacit("plan", *arguments)
    assert code == 2
    assert says in said
    assert out == ""
