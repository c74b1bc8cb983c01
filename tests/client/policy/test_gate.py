"""The gate: default deny, and every reason to refuse."""

from dataclasses import replace
from datetime import date

import pytest

import client.policy
from client.policy import Ask, shut_by
from common.config import (
    Ethics,
    Privacy,
    PurposeException,
    SecureAggregation,
    SitePolicy,
    Split,
    Study,
    Training,
)
from common.errors import PolicyRefused
from common.ratings import Dimension

POLICY = SitePolicy(
    site="hill",
    studies=("x",),
    purposes=("research", "care"),
    ethics=Ethics("EK 7/2026", "2027-06-30"),
    suite="x25519",
    declared_persons=9,
    max_epsilon=8.0,
    max_rounds=5,
)
STUDY = Study(name="x", privacy=Privacy(mode="local"), training=Training(num_server_rounds=10))
COHORT = ("a", "b", "c", "d")
TODAY = date(2026, 11, 23)


def gate(policy, ask, today=TODAY):
    client.policy.gate(policy, ask, today)


def gate_study(policy, study, today=TODAY):
    client.policy.gate_study(policy, study, today)


def asked(task="train", round_=1, cohort=COHORT, **changes):
    return Ask(replace(STUDY, **changes), task, round_, round_, cohort)


def test_what_the_policy_allows_passes():
    for task in ("statistics", "train", "evaluate"):
        for round_ in (0, 1, 5):
            gate(POLICY, asked(task, round_))
        with pytest.raises(PolicyRefused, match="outside the 5 rounds"):
            gate(POLICY, asked(task, 6))
    gate(POLICY, asked(purpose="care"))
    with pytest.raises(PolicyRefused, match="allows"):
        gate(POLICY, asked(purpose="cares"))


@pytest.mark.parametrize(
    ("policy", "ask", "said"),
    [
        (SitePolicy(site="hill"), asked(), "not one that hill allows"),
        (POLICY, asked(purpose="marketing"), r"allows \(research, care\)"),
        (POLICY, asked(purpose=""), "not one"),
        (POLICY, asked(privacy=Privacy(mode="none")), "without differential privacy"),
        (POLICY, asked(normalise="federated"), "exact statistics"),
        (POLICY, asked(training=Training(balance_over="all_sites")), "exact counts"),
        (POLICY, asked(cohort=("a", "b")), "no sum of fewer than 3"),
        (POLICY, asked(cohort=("a", "a", "b", "b")), "no sum of fewer than 3"),
        (replace(POLICY, min_sites=5), asked(), "no sum of fewer than 5"),
        (
            POLICY,
            asked(secure_aggregation=SecureAggregation(min_sites=5)),
            "no sum of fewer than 5",
        ),
        (
            POLICY,
            asked(privacy=Privacy(mode="local", max_grad_norm=1.5)),
            "C = 1.5; hill .* most 1",
        ),
        (POLICY, asked("weights"), "no task 'weights'"),
        (POLICY, asked(round_=6), "outside the 5 rounds"),
        (POLICY, asked(round_=-1), "outside"),
        (POLICY, asked(round_=3, training=Training(num_server_rounds=2)), "outside the 2 rounds"),
    ],
)
def test_what_it_does_not_allow_is_refused(policy, ask, said):
    with pytest.raises(PolicyRefused, match=said):
        gate(policy, ask)


@pytest.mark.parametrize(
    ("policy", "changes", "said"),
    [
        (POLICY, {"privacy": Privacy(mode="local", unit="record")}, "keeps its budget by person"),
        (
            replace(POLICY, unit="record", declared_records=90),
            {"privacy": Privacy(mode="local", unit="record"), "normalise": "person"},
            "mixes a person's records",
        ),
        (POLICY, {"privacy": Privacy(mode="local", target_delta=0.2)}, "δ = 0.2 is above 1/9"),
        (replace(POLICY, delta=0.2), {}, "δ = 0.2 is above 1/9"),
        (POLICY, {"split": Split(folds=1000)}, "1000 folds; hill allows 0"),
        (replace(POLICY, folds=5), {"split": Split(folds=4)}, "allows 5"),
        (replace(POLICY, studies=()), {}, r"study 'x' is not one that hill allows \(none\)"),
        (replace(POLICY, studies=("X", "xy")), {}, r"allows \(X, xy\). policy.yaml, studies: list"),
        (replace(POLICY, ethics=Ethics()), {}, "hill names no ethics approval"),
        (replace(POLICY, suite="mlkem768_x25519"), {}, "by x25519; hill asks for mlkem768_x25519"),
        (replace(POLICY, max_epsilon_per_study=4.0), {}, "ε = 8; hill allows at most 4 for one"),
        (replace(POLICY, labels=("calm", "sad")), {"classes": ("calm", "angry")}, "class for sad"),
    ],
)
def test_a_study_outside_of_what_the_site_fixed_is_refused_before_anything_is_built(
    policy, changes, said
):
    with pytest.raises(PolicyRefused, match=said):
        gate_study(policy, replace(STUDY, **changes))


def test_a_study_within_what_the_site_fixed_passes():
    fixed = replace(POLICY, folds=5, labels=("calm", "sad"))
    gate_study(fixed, replace(STUDY, split=Split(folds=5), classes=("sad", "calm", "angry")))
    gate_study(fixed, replace(STUDY, classes=("sad", "calm")))
    gate_study(fixed, replace(STUDY, classes=(), dimensions={"valence": Dimension()}))
    for beyond in ({"split": Split(folds=6)}, {"classes": ("sad", "angry")}):
        with pytest.raises(PolicyRefused, match=r"6 folds; hill allows 5|class for calm"):
            gate_study(fixed, replace(STUDY, **beyond))


def test_a_policy_that_says_nothing_refuses_every_study():
    with pytest.raises(PolicyRefused):
        gate_study(SitePolicy(site="hill"), STUDY)


@pytest.mark.parametrize(
    ("today", "passes"), [(date(2027, 6, 30), True), (date(2027, 7, 1), False)]
)
def test_an_approval_holds_to_its_last_day(today, passes):
    if passes:
        gate_study(POLICY, STUDY, today)
    else:
        with pytest.raises(PolicyRefused, match="EK 7/2026 ended on 2027-06-30"):
            gate_study(POLICY, STUDY, today)


def test_a_stronger_suite_than_asked_for_passes():
    stronger = SecureAggregation(suite="mlkem768_x25519")
    for suite in ("x25519", "mlkem768_x25519"):
        gate_study(replace(POLICY, suite=suite), replace(STUDY, secure_aggregation=stronger))
    with pytest.raises(PolicyRefused, match="by x25519; hill asks for mlkem768_x25519"):
        gate_study(replace(POLICY, suite=stronger.suite), STUDY)


def test_every_refusal_says_where_in_the_policy_and_what_to_do():
    for harm in (
        {"studies": ()},
        {"purposes": ()},
        {"ethics": Ethics()},
        {"suite": "mlkem768_x25519"},
        {"unit": "record", "declared_records": 9},
        {"max_grad_norm": 0.5},
        {"max_epsilon_per_study": 1.0},
        {"delta": 0.5},
        {"min_sites": 9},
        {"max_rounds": 0},
        {"labels": ("calm",)},
    ):
        with pytest.raises(PolicyRefused) as error:
            gate(replace(POLICY, **harm), asked())
        assert f"policy.yaml, {next(iter(harm))}" in str(error.value)


EXCEPTION = PurposeException("medical", "Opinion 3", "Dr N. N.")


def test_a_signed_exception_lets_a_listed_purpose_pass():
    purpose = "burn-out at the workplace"
    allowed = replace(POLICY, purposes=(purpose,), exception=EXCEPTION)
    gate(allowed, asked(purpose=purpose))
    with pytest.raises(PolicyRefused, match="not one that hill allows"):
        gate(replace(allowed, purposes=("research",)), asked(purpose=purpose))


@pytest.mark.parametrize(
    "changes",
    [{"kind": ""}, {"kind": "wellbeing"}, {"reference": " "}, {"signed_by": ""}],
    ids=["no kind", "another kind", "no reference", "nobody signed"],
)
def test_half_an_exception_lets_nothing_pass(changes):
    purpose = "burn-out at the workplace"
    claimed = replace(EXCEPTION, **changes)
    with pytest.raises(PolicyRefused, match=r"Article 5\(1\)\(f\)"):
        gate(replace(POLICY, purposes=(purpose,), exception=claimed), asked(purpose=purpose))


def test_the_cap_over_one_study_is_the_sites_own_where_none_is_named():
    assert SitePolicy(max_epsilon=3.0).study_cap == 3.0
    assert SitePolicy(max_epsilon=3.0, max_epsilon_per_study=2.0).study_cap == 2.0
    assert SitePolicy(max_epsilon=3.0, max_epsilon_per_study=9.0).study_cap == 3.0
    assert SitePolicy(max_epsilon_per_study=9.0).study_cap == 0.0


def test_a_policy_says_what_refuses_every_study():
    assert shut_by(POLICY, TODAY) == ()
    assert shut_by(SitePolicy(), TODAY) == ("studies", "purposes", "ethics", "max_epsilon")
    assert shut_by(POLICY, date(2027, 7, 1)) == ("ethics.until",)
    assert shut_by(replace(POLICY, max_epsilon=0.0, allow_without_privacy=True), TODAY) == ()
