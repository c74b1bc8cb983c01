"""What leaves of an evaluation: nothing of a target or a view that too few persons have."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from client.balance import balanced, balanced_over_sites, weights_by_person, weights_by_site
from client.data.arrays import SiteData
from client.evaluate import Truth, evaluation_counts, say
from client.train import to_batch
from common.affect import lanes_of, read_evaluation
from common.config import Modality, Model, Study, Training
from common.models.registry import build
from common.ratings import Dimension, Label
from common.targets import targets_of

VECTOR = Modality(options={"dim": 4})
STUDY = Study(
    name="evaluated",
    classes=("a", "b"),
    dimensions={"valence": Dimension(-1, 1), "arousal": Dimension(1, 9)},
    labels={"tears": Label()},
    modalities={"features_x": VECTOR, "features_y": VECTOR},
    model=Model(hidden=0, fusion="late"),
    training=Training(class_target="raters"),
)
PERSONS, CLIPS = 5, 4


@pytest.fixture
def data():
    """Five persons; arousal is known of two of them, features_y of one."""
    rng = np.random.default_rng(0)
    count = PERSONS * CLIPS
    person_N = np.repeat(np.arange(PERSONS), CLIPS)
    y_NT = np.concatenate([rng.dirichlet([1, 1], count) for _ in range(4)], axis=1)
    y_NT[person_N > 1, 4:6] = 0
    y_NT[0] = 0
    present_NM = np.ones((count, 2), dtype=np.bool_)
    present_NM[:, 1] = person_N == 3
    x = {name: rng.normal(size=(count, 4)).astype(np.float32) for name in STUDY.modalities}
    names = tuple(map(str, range(count)))
    y_NT = y_NT.astype(np.float32)
    return SiteData(x, present_NM, y_NT, person_N, tuple("abcde"), names, np.full(count, ""))


def counted(data, min_persons=1, model=None):
    found = model or build(STUDY)
    return evaluation_counts(found, data, STUDY, torch.device("cpu"), min_persons)


def test_every_lane_is_filled_and_none_besides(data):
    assert set(counted(data)) == set(lanes_of(STUDY))


def test_a_target_that_too_few_persons_have_adds_nothing(data):
    """Quotes evaluation_counts: fewest persons behind a target's lanes."""
    lanes = counted(data, min_persons=3)
    assert not any(value for lane, value in lanes.items() if "arousal" in lane)
    assert lanes["dimension/valence/persons"] == lanes["label/persons"] == 5
    assert lanes["dimension/arousal/persons"] == 0
    assert counted(data, min_persons=2)["dimension/arousal/persons"] == 2


def test_a_view_that_too_few_persons_have_adds_nothing(data):
    """Quotes evaluation_counts: and behind a view's of it."""
    lanes = counted(data, min_persons=2)
    alone = [value for lane, value in lanes.items() if lane.startswith("view/only features_y")]
    assert alone
    assert not any(alone)
    assert any(
        value for lane, value in counted(data).items() if lane.startswith("view/only features_y")
    )


def test_nobody_at_all_gives_zeros(data):
    none = data.take(np.zeros(len(data), dtype=np.bool_))
    assert not any(counted(none).values())
    assert read_evaluation(counted(none), STUDY).is_empty


def test_a_model_that_diverged_says_that_it_knows_nothing(data):
    model = build(STUDY)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    said = say(model, to_batch(data, np.ones(len(data), np.float32), torch.device("cpu")), 2)
    assert not said.answered_N.any()
    assert (said.class_NC == 0.5).all()
    assert (said.place_NK == 0.5).all()
    found = read_evaluation(counted(data, model=model), STUDY)
    assert found.classes.abstained == found.classes.clips == len(data) - 1
    assert found.dimensions["valence"].ccc.value == 0


def test_unknown_targets_are_no_truth(data):
    truth = Truth.of(data, targets_of(STUDY), 1)
    assert np.isnan(truth.place_NK[0]).all()
    assert np.isnan(truth.place_NK[data.person_N > 1, 1]).all()
    assert np.isfinite(truth.place_NK[1:, 0]).all()


def test_balance_over_sites_weighs_each_label_by_its_own_counts(data):
    targets = targets_of(STUDY)
    halves = [data.take(np.arange(len(data)) % 2 == part) for part in (0, 1)]
    counts_T = data.y_NC.sum(0)
    parts = [balanced_over_sites(half, targets, counts_T)[0] for half in halves]
    whole = balanced(data, targets, weights_by_site)[0]
    for part, half in enumerate(parts):
        assert half == pytest.approx(whole[np.arange(len(data)) % 2 == part], rel=1e-5)
    assert not np.allclose(parts[0], balanced(halves[0], targets, weights_by_site)[0], rtol=1e-3)


@pytest.mark.parametrize("by_person", [True, False])
def test_balance_weighs_yes_and_no_alike_and_leaves_dimensions_alone(data, by_person):
    hard = replace(data, y_NC=data.y_NC.copy())
    hard.y_NC[:, [0, 1, 6, 7]] = np.rint(data.y_NC[:, [0, 1, 6, 7]])

    def weigh(y_NC):
        return weights_by_person(y_NC, data.person_N) if by_person else weights_by_site(y_NC)

    y_NT, weight_N = balanced(hard, targets_of(STUDY), weigh)
    assert (weight_N == 1).all()
    assert np.array_equal(y_NT[:, 2:6], data.y_NC[:, 2:6])
    for block in (slice(0, 2), slice(6, 8)):
        for mine in [data.person_N == p for p in range(PERSONS)] if by_person else [slice(None)]:
            yes, no = y_NT[mine, block].sum(axis=0)
            assert yes == pytest.approx(no, rel=1e-4) or 0 in (yes, no)
            known = y_NT[mine, block].any(axis=1).sum()
            assert yes + no == pytest.approx(known, rel=1e-4)
    assert not y_NT[0].any()
