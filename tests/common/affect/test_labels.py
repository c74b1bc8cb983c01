"""Labels that may hold together, against scikit-learn and a bootstrap of persons."""

import numpy as np
import pytest
import sklearn.metrics as sk

from common.affect import label_counts, label_lanes, label_metrics

LABELS = ("laughter", "tears", "sigh")


def answers(seed=0, persons=60):
    rng = np.random.default_rng(seed)
    person_N = np.repeat(np.arange(persons), rng.integers(3, 12, persons))
    held_NL = (rng.random((len(person_N), 3)) < [0.5, 0.2, 0.05]).astype(float)
    score_NL = 1.5 * held_NL - 0.8 + rng.normal(0, 0.8, held_NL.shape)
    score_NL += rng.normal(0, 0.5, (persons, 3))[person_N]
    return 1 / (1 + np.exp(-score_NL)), held_NL, person_N


def measured(probability_NL, held_NL, person_N):
    return label_metrics(label_counts(probability_NL, held_NL, person_N, LABELS), LABELS)


def test_figures_are_those_of_scikit_learn():
    probability_NL, held_NL, person_N = answers()
    said_NL = probability_NL > 0.5
    assert tuple(label_counts(probability_NL, held_NL, person_N, LABELS)) == label_lanes(LABELS)
    found = measured(probability_NL, held_NL, person_N)
    assert found.macro_f1.value == pytest.approx(sk.f1_score(held_NL, said_NL, average="macro"))
    each = sk.f1_score(held_NL, said_NL, average=None)
    assert [found.f1[name].value for name in LABELS] == pytest.approx(list(each))
    assert found.accuracy.value == pytest.approx((held_NL == said_NL).mean())
    assert list(found.held.values()) == pytest.approx(list(held_NL.mean(axis=0)))
    assert (found.persons, found.answers) == (60, held_NL.size)


def test_intervals_agree_with_a_bootstrap_of_whole_persons():
    probability_NL, held_NL, person_N = answers(persons=80)
    said_NL = probability_NL > 0.5
    found = measured(probability_NL, held_NL, person_N)
    rng = np.random.default_rng(1)
    rows = [np.flatnonzero(person_N == p) for p in range(80)]
    drawn = [np.concatenate([rows[p] for p in rng.integers(0, 80, 80)]) for _ in range(400)]
    for one, statistic in (
        (found.macro_f1, lambda d: sk.f1_score(held_NL[d], said_NL[d], average="macro")),
        (found.f1["laughter"], lambda d: sk.f1_score(held_NL[d, 0], said_NL[d, 0])),
        (found.accuracy, lambda d: (held_NL[d] == said_NL[d]).mean()),
    ):
        width = 2 * 1.99 * np.std([statistic(d) for d in drawn])
        assert one.high - one.low == pytest.approx(width, rel=0.2)


def test_an_unknown_answer_counts_for_its_label_alone():
    probability_NL, held_NL, person_N = answers()
    whole = measured(probability_NL, held_NL, person_N)
    gaps_NL = held_NL.copy()
    gaps_NL[:9, 1] = np.nan
    found = measured(probability_NL, gaps_NL, person_N)
    assert found.answers == whole.answers - 9
    assert found.f1["laughter"] == whole.f1["laughter"]
    kept = slice(9, None)
    expected = sk.f1_score(held_NL[kept, 1], probability_NL[kept, 1] > 0.5)
    assert found.f1["tears"].value == pytest.approx(expected)


def test_the_calibration_error_is_the_distance_in_ten_bins_over_all_labels():
    held_N1 = (np.arange(1000) % 10 < 7)[:, None].astype(float)
    lanes = label_counts(np.full((1000, 1), 0.9), held_N1, np.arange(1000) // 10, ("smile",))
    assert label_metrics(lanes, ("smile",)).calibration_error == pytest.approx(0.2, abs=1e-5)


def test_sums_over_sites_are_the_figures_of_all_persons_together():
    probability_NL, held_NL, person_N = answers()
    parts = [
        label_counts(probability_NL[m], held_NL[m], person_N[m], LABELS)
        for m in (person_N < 20, person_N >= 20)
    ]
    total = {lane: parts[0][lane] + parts[1][lane] for lane in parts[0]}
    together = label_counts(probability_NL, held_NL, person_N, LABELS)
    rounded = [lane for lane in total if "calibration/probability" in lane]
    assert all(abs(total.pop(lane) - together.pop(lane)) <= 1 for lane in rounded)
    assert total == together


def test_a_label_that_holds_nowhere_is_left_out_and_named_and_nobody_gives_nothing():
    probability_NL, held_NL, person_N = answers()
    held_NL[:, 2] = 0
    found = measured(probability_NL, held_NL, person_N)
    assert found.absent_labels == ("sigh",)
    assert set(found.f1) == {"laughter", "tears"}
    assert measured(probability_NL, np.full_like(held_NL, np.nan), person_N) is None
    assert label_metrics({}, ()) is None
