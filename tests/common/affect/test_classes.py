import numpy as np
import pytest
from sklearn import metrics as sk

from common.affect import evaluation_lanes, metrics_from_lanes, person_counts
from common.errors import ConfigError, DataError

CLASSES = ("anger", "joy", "neutral", "sadness")
SIZE = len(CLASSES)


def predictions(seed=0, persons=40, clips=12, shift=1.5):
    """Labels, and probabilities that lean to them more at some persons than at others."""
    rng = np.random.default_rng(seed)
    person_N = np.repeat(np.arange(persons), rng.integers(2, clips * 2, persons))
    truth_N = rng.choice(SIZE, len(person_N), p=[0.4, 0.3, 0.2, 0.1])
    skill_P = rng.normal(shift, 1.0, persons)
    scores_NC = rng.normal(size=(len(person_N), SIZE))
    scores_NC[np.arange(len(person_N)), truth_N] += skill_P[person_N]
    probabilities_NC = np.exp(scores_NC) / np.exp(scores_NC).sum(axis=1, keepdims=True)
    return probabilities_NC, np.eye(SIZE)[truth_N], person_N


def lanes_of(probabilities_NC, y_NC, person_N, answered_N=None):
    return person_counts(probabilities_NC, y_NC, person_N, CLASSES, answered_N)


def added(*sites):
    return {lane: sum(site[lane] for site in sites) for lane in sites[0]}


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_scikit_learn(seed):
    probabilities_NC, y_NC, person_N = predictions(seed)
    truth_N, given_N = y_NC.argmax(axis=1), probabilities_NC.argmax(axis=1)
    found = metrics_from_lanes(lanes_of(probabilities_NC, y_NC, person_N), CLASSES)
    assert found.uar.value == pytest.approx(sk.balanced_accuracy_score(truth_N, given_N))
    assert found.accuracy.value == pytest.approx(sk.accuracy_score(truth_N, given_N))
    for average, estimate in (("weighted", found.weighted_f1), ("macro", found.macro_f1)):
        assert estimate.value == pytest.approx(sk.f1_score(truth_N, given_N, average=average))
    assert np.array_equal(found.confusion_CC, sk.confusion_matrix(truth_N, given_N))
    assert found.log_loss == pytest.approx(sk.log_loss(truth_N, probabilities_NC), abs=1e-5)
    recalls = sk.recall_score(truth_N, given_N, average=None)
    found_recalls = [one.value for one in found.recall.values()]
    assert found_recalls == pytest.approx(list(recalls))
    assert all(one.low < one.value < one.high for one in found.recall.values())


def test_sums_over_sites_are_the_figures_of_all_persons_together():
    probabilities_NC, y_NC, person_N = predictions()
    here_N = person_N % 3 == 0
    sites = [lanes_of(probabilities_NC[m], y_NC[m], person_N[m]) for m in (here_N, ~here_N)]
    assert added(*sites)["persons"] == 40
    together = lanes_of(probabilities_NC, y_NC, person_N)
    exact = [lane for lane in together if not lane.startswith(("log_loss", "calibration/conf"))]
    assert all(added(*sites)[lane] == together[lane] for lane in exact)
    assert metrics_from_lanes(added(*sites), CLASSES).uar == (
        metrics_from_lanes(together, CLASSES).uar
    )


def test_the_lanes_are_the_named_ones_and_whole_numbers():
    lanes = lanes_of(*predictions())
    assert tuple(lanes) == evaluation_lanes(CLASSES)
    assert all(type(value) is int and value >= 0 for value in lanes.values())


def test_a_site_without_clips_contributes_zeros():
    nothing = lanes_of(np.zeros((0, SIZE)), np.zeros((0, SIZE)), np.zeros(0, dtype=np.int64))
    assert tuple(nothing) == evaluation_lanes(CLASSES)
    assert set(nothing.values()) == {0}


def bootstrap_sd(probabilities_NC, y_NC, person_N, repeats=1500):
    """Resample whole persons with replacement, and compute the figures anew each time."""
    rng = np.random.default_rng(9)
    hit_N = probabilities_NC.argmax(axis=1) == y_NC.argmax(axis=1)
    given_NC = np.eye(SIZE)[probabilities_NC.argmax(axis=1)]
    row_NK = np.concatenate([y_NC * hit_N[:, None], y_NC, given_NC], axis=1)
    row_PK = np.stack([row_NK[person_N == p].sum(axis=0) for p in np.unique(person_N)])
    drawn = rng.integers(0, len(row_PK), (repeats, len(row_PK)))
    right, count, given = np.split(row_PK[drawn].sum(axis=1), 3, axis=1)
    f1 = 2 * right / (count + given)
    return {
        "uar": (right / count).mean(axis=1).std(),
        "weighted_f1": ((f1 * count).sum(axis=1) / count.sum(axis=1)).std(),
        "macro_f1": f1.mean(axis=1).std(),
        "accuracy": (right.sum(axis=1) / count.sum(axis=1)).std(),
    }


@pytest.mark.parametrize("seed", range(3))
def test_intervals_agree_with_a_bootstrap_of_whole_persons(seed):
    data = predictions(seed, persons=60)
    found = metrics_from_lanes(lanes_of(*data), CLASSES)
    quantile = 2.001  # Student's t, 59 degrees of freedom, 95 %
    for name, sd in bootstrap_sd(*data).items():
        estimate = getattr(found, name)
        assert (estimate.high - estimate.low) / 2 == pytest.approx(quantile * sd, rel=0.15)


def test_intervals_cover_the_truth_as_often_as_they_say():
    truth = metrics_from_lanes(lanes_of(*predictions(1000, persons=20_000)), CLASSES).uar.value
    found = [metrics_from_lanes(lanes_of(*predictions(s, 30)), CLASSES).uar for s in range(200)]
    covered = np.mean([e.low <= truth <= e.high for e in found])
    assert 0.90 <= covered <= 0.99


def test_clips_of_one_person_do_not_count_as_many_persons():
    probabilities_NC, y_NC, person_N = predictions(persons=20)
    once = metrics_from_lanes(lanes_of(probabilities_NC, y_NC, person_N), CLASSES).uar
    tenfold = (np.tile(probabilities_NC, (10, 1)), np.tile(y_NC, (10, 1)), np.tile(person_N, 10))
    copied = metrics_from_lanes(lanes_of(*tenfold), CLASSES).uar
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_one_person_says_nothing_about_persons():
    probabilities_NC, y_NC, person_N = predictions(persons=1, clips=20)
    uar = metrics_from_lanes(lanes_of(probabilities_NC, y_NC, person_N), CLASSES).uar
    assert (uar.low, uar.high) == (0.0, 1.0)


def test_a_class_that_does_not_occur_is_left_out_and_said_so():
    probabilities_NC, y_NC, person_N = predictions()
    kept_N = y_NC.argmax(axis=1) != 3
    found = metrics_from_lanes(
        lanes_of(probabilities_NC[kept_N], y_NC[kept_N], person_N[kept_N]), CLASSES
    )
    truth_N, given_N = y_NC[kept_N].argmax(axis=1), probabilities_NC[kept_N].argmax(axis=1)
    labels = [0, 1, 2]
    assert found.absent_classes == ("sadness",)
    assert found.chance == pytest.approx(1 / 3)
    assert list(found.recall) == ["anger", "joy", "neutral"]
    expected = sk.recall_score(truth_N, given_N, labels=labels, average="macro")
    assert found.uar.value == pytest.approx(expected)
    expected = sk.f1_score(truth_N, given_N, labels=labels, average="macro")
    assert found.macro_f1.value == pytest.approx(expected)
    expected = sk.f1_score(truth_N, given_N, labels=labels, average="weighted")
    assert found.weighted_f1.value == pytest.approx(expected)


def test_an_abstention_is_wrong_whatever_the_columns_say():
    probabilities_NC, y_NC, person_N = predictions()
    answered_N = np.arange(len(person_N)) % 4 > 0
    found = metrics_from_lanes(lanes_of(probabilities_NC, y_NC, person_N, answered_N), CLASSES)
    hit_N = (probabilities_NC.argmax(axis=1) == y_NC.argmax(axis=1)) & answered_N
    assert found.accuracy.value == pytest.approx(hit_N.mean())
    assert found.abstained == np.sum(~answered_N)
    assert sum(map(sum, found.confusion_CC)) + found.abstained == found.clips


def test_confidence_that_is_always_kept_has_no_calibration_error():
    y_NC = np.eye(SIZE)[np.arange(400) % SIZE]
    probabilities_NC = np.full((400, SIZE), 0.1)
    wrong_N = np.arange(400) % 10 >= 7
    probabilities_NC[np.arange(400), (np.arange(400) + wrong_N) % SIZE] = 0.7
    found = metrics_from_lanes(lanes_of(probabilities_NC, y_NC, np.arange(400) // 10), CLASSES)
    assert found.accuracy.value == pytest.approx(0.7)
    assert found.calibration_error == pytest.approx(0.0, abs=1e-5)


def test_confidence_that_is_too_high_shows_as_calibration_error():
    y_NC = np.eye(SIZE)[np.zeros(10, dtype=int)]
    probabilities_NC = np.tile([0.94, 0.02, 0.02, 0.02], (10, 1))
    probabilities_NC[5:] = probabilities_NC[5:, ::-1]
    found = metrics_from_lanes(lanes_of(probabilities_NC, y_NC, np.arange(10)), CLASSES)
    assert found.calibration_error == pytest.approx(0.44, abs=1e-5)


def test_soft_labels_count_by_their_largest_share_and_weigh_the_log_loss():
    y_NC = np.array([[0.5, 0.3, 0.2, 0.0], [0.1, 0.2, 0.3, 0.4]])
    probabilities_NC = np.array([[0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1]])
    found = metrics_from_lanes(lanes_of(probabilities_NC, y_NC, np.array([0, 1])), CLASSES)
    assert {c: one.value for c, one in found.recall.items()} == {"anger": 1.0, "sadness": 0.0}
    expected = -(y_NC * np.log(probabilities_NC)).sum(axis=1).mean()
    assert found.log_loss == pytest.approx(expected, abs=1e-5)


def test_a_sure_mistake_costs_a_bounded_log_loss():
    y_NC, probabilities_NC = np.eye(SIZE)[[0, 0]], np.eye(SIZE)[[1, 1]]
    found = metrics_from_lanes(lanes_of(probabilities_NC, y_NC, np.array([0, 1])), CLASSES)
    assert found.log_loss == pytest.approx(32.0)


def test_a_model_that_diverged_is_said_to_have_diverged():
    probabilities_NC, y_NC, person_N = predictions()
    probabilities_NC[3, 1] = np.nan
    with pytest.raises(ConfigError, match=r"diverged; lower training\.learning_rate"):
        lanes_of(probabilities_NC, y_NC, person_N)


def test_columns_that_are_not_the_classes_are_refused():
    probabilities_NC, y_NC, person_N = predictions()
    with pytest.raises(DataError, match="expected probabilities and labels of shape"):
        lanes_of(probabilities_NC[:, :3], y_NC, person_N)


def test_an_evaluation_without_clips_is_refused():
    nothing = lanes_of(np.zeros((0, SIZE)), np.zeros((0, SIZE)), np.zeros(0, dtype=np.int64))
    with pytest.raises(DataError, match="at least one labelled clip"):
        metrics_from_lanes(nothing, CLASSES)
