"""The gate: default deny, and every reason to refuse."""

from dataclasses import replace

import pytest

from client.policy import Ask, gate, gate_study
from common.config import Privacy, SecureAggregation, SitePolicy, Split, Study, Training
from common.errors import PolicyRefused

POLICY = SitePolicy(
    site="hill",
    purposes=("research", "care"),
    declared_persons=9,
    max_epsilon=8.0,
    max_rounds=5,
)
STUDY = Study(name="x", privacy=Privacy(mode="local"), training=Training(num_server_rounds=10))
COHORT = ("a", "b", "c", "d")


def asked(task="train", round_=1, cohort=COHORT, **changes):
    return Ask(replace(STUDY, **changes), task, round_, round_, cohort)


def test_what_the_policy_allows_passes():
    for task in ("statistics", "train", "evaluate"):
        for round_ in (0, 1, 5):
            gate(POLICY, asked(task, round_))
    gate(POLICY, asked(purpose="care"))


@pytest.mark.parametrize(
    ("policy", "ask", "said"),
    [
        (SitePolicy(site="hill"), asked(), "not one that hill allows"),
        (POLICY, asked(purpose="marketing"), r"allows \(research, care\)"),
        (POLICY, asked(purpose=""), "not one"),
        (POLICY, asked(privacy=Privacy(mode="none")), "without differential privacy"),
        (POLICY, asked(normalise="federated"), "exact statistics"),
        (POLICY, asked(cohort=("a", "b")), "no sum of fewer than 3"),
        (POLICY, asked(cohort=("a", "a", "b", "b")), "no sum of fewer than 3"),
        (replace(POLICY, min_sites=5), asked(), "no sum of fewer than 5"),
        (
            POLICY,
            asked(secure_aggregation=SecureAggregation(min_sites=5)),
            "no sum of fewer than 5",
        ),
        (POLICY, asked(privacy=Privacy(mode="local", max_grad_norm=1.5)), "C = 1.5; hill .* most 1"),
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
    "purpose",
    [
        "work",
        "workplace",
        "Workplace",
        "WORKPLACE monitoring",
        "employee-wellbeing",
        "employment",
        "hiring",
        "recruitment",
        "job_interviews",
        "education",
        "school",
        "student engagement",
        "university",
        "exams",
    ],
)
def test_work_and_education_are_refused_whatever_the_policy_says(purpose):
    with pytest.raises(PolicyRefused, match=r"Article 5\(1\)\(f\)"):
        gate(replace(POLICY, purposes=(purpose,)), asked(purpose=purpose))


@pytest.mark.parametrize("purpose", ["research", "example", "network medicine", "care", "staffa"])
def test_a_purpose_that_only_looks_like_it_is_not_refused(purpose):
    gate(replace(POLICY, purposes=(purpose,)), asked(purpose=purpose))


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
