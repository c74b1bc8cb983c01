"""What a site adds has enough persons behind it, and is asked for no more often than it allows."""

from dataclasses import replace

import numpy as np
import pytest

from client.contribute import contribution
from common.errors import BudgetSpent
from common.models.registry import build
from common.parameters import to_arrays
from common.privacy.events import ExactThroughSecureSum
from common.secagg import ring
from common.secagg.roster import Context
from common.settings import config_hash


def context_of(session, task, number=1, run="a run"):
    policy, hashed = session.member.policy.policy_id, config_hash(session.study)
    return Context(policy, run, number, 0, task, hashed, bytes(32))


def asked(session, task, model, **more):
    """The one site's own sum, decoded: what it would add."""
    words = contribution(session, context_of(session, task, **more), model)
    return ring.decode(session.member.policy.layouts[task], words, 1)


@pytest.mark.parametrize(("fewest", "adds"), [(2, True), (1000, False)])
def test_an_update_without_noise_has_min_persons_behind_it(lay_table, fewest, adds):
    table = lay_table()
    table.change_policy("hill", min_persons=fewest)
    session = table.session("hill")
    found = asked(session, "train", to_arrays(build(session.study)))
    assert any(found.weights.values()) == adds
    assert any(np.any(value) for value in found.sums.values()) == adds


@pytest.mark.parametrize(("fewest", "adds"), [(1, True), (2, False)])
def test_a_modality_of_one_person_alone_is_left_out(lay_table, fewest, adds):
    table = lay_table("normalise=federated")
    table.change_policy("hill", min_persons=fewest)
    session = table.session("hill")
    data, column = session.train_data, sorted(session.train_data.x).index("features_b")
    present_NM = data.present_NM.copy()
    present_NM[data.person_N != data.person_N[present_NM[:, column]][0], column] = False
    session.__dict__["train_data"] = replace(data, present_NM=present_NM)
    found = asked(session, "statistics", {}).exacts
    assert bool(found["count/features_b"]) == adds
    assert np.any(found["sum/features_b"]) == adds
    assert found["count/features_a"]


@pytest.mark.parametrize(("fewest", "adds"), [(6, True), (7, False)])
def test_classes_are_counted_where_min_persons_have_them(lay_table, fewest, adds):
    table = lay_table("training.balance_over=all_sites", "split.folds=0")
    table.change_policy("hill", min_persons=fewest)
    session = table.session("hill")
    found = asked(session, "statistics", {}).exacts
    counted = session.train_data.y_NC.sum(0) * (1 << 20)
    assert set(found) == {"class_counts"}
    assert found["class_counts"].tolist() == (counted if adds else 0 * counted).tolist()


def test_a_target_of_too_few_persons_is_not_counted(lay_table):
    table = lay_table("training.balance_over=all_sites", "split.folds=0")
    table.change_policy("hill", min_persons=2)
    session = table.session("hill")
    data = session.train_data
    y_NC = data.y_NC * (data.person_N == data.person_N[0])[:, None]
    session.__dict__["train_data"] = replace(data, y_NC=y_NC)
    assert not asked(session, "statistics", {}).exacts["class_counts"].any()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("normalise=federated",), "feature statistics"),
        (("training.balance_over=all_sites",), "counts of classes"),
        (
            ("normalise=federated", "training.balance_over=all_sites"),
            "feature statistics and counts of classes",
        ),
    ],
)
def test_what_was_summed_before_the_first_round_is_in_the_ledger(lay_table, settings, said):
    session = lay_table(*settings).session("hill")
    asked(session, "statistics", {})
    assert list(session.ledger.events()) == [ExactThroughSecureSum(said, 1)]


def test_a_study_is_evaluated_as_often_as_the_site_allows_over_all_its_runs(lay_table):
    table = lay_table()
    table.change_policy("hill", max_evaluations=2)
    session = table.session("hill")
    model = to_arrays(build(session.study))
    asked(session, "evaluate", model)
    asked(session, "train", model)
    asked(session, "evaluate", model, run="another run")
    entries = session.ledger.head()
    with pytest.raises(BudgetSpent, match=r"charged 2 times for evaluation .*most 2.*max_eval"):
        asked(session, "evaluate", model, number=2)
    assert session.ledger.head() == entries
