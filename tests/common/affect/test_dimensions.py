import numpy as np
import pytest

from common.affect import dimension_counts, dimension_lanes, dimension_metrics
from common.errors import ConfigError, DataError

NAMES = ("valence", "arousal")


def ratings(seed=0, persons=50):
    rng = np.random.default_rng(seed)
    person_N = np.repeat(np.arange(persons), rng.integers(3, 20, persons))
    target_ND = rng.normal(0, 1, (len(person_N), 2)) + rng.normal(0, 0.5, (persons, 2))[person_N]
    bias_PD = rng.normal(0, 0.3, (persons, 2))
    prediction_ND = 0.6 * target_ND + bias_PD[person_N] + rng.normal(0, 0.5, target_ND.shape)
    return prediction_ND, target_ND, person_N


def ccc(x_N, y_N):
    covariance = np.cov(x_N, y_N, bias=True)
    return 2 * covariance[0, 1] / (np.trace(covariance) + (x_N.mean() - y_N.mean()) ** 2)


def test_figures_are_those_of_the_plain_formulas():
    prediction_ND, target_ND, person_N = ratings()
    lanes = dimension_counts(prediction_ND, target_ND, person_N, NAMES)
    assert tuple(lanes) == dimension_lanes(NAMES)
    for column, name in enumerate(NAMES):
        found = dimension_metrics(lanes, NAMES)[name]
        x_N, y_N = prediction_ND[:, column], target_ND[:, column]
        assert found.ccc.value == pytest.approx(ccc(x_N, y_N), abs=1e-3)
        assert found.mse.value == pytest.approx(np.mean((x_N - y_N) ** 2), abs=1e-3)
        assert (found.persons, found.clips) == (50, len(person_N))


def test_sums_over_sites_are_the_figures_of_all_persons_together():
    prediction_ND, target_ND, person_N = ratings()
    parts = [
        dimension_counts(prediction_ND[m], target_ND[m], person_N[m], NAMES)
        for m in (person_N < 20, person_N >= 20)
    ]
    total = {lane: parts[0][lane] + parts[1][lane] for lane in parts[0]}
    assert total == dimension_counts(prediction_ND, target_ND, person_N, NAMES)


def test_intervals_agree_with_a_bootstrap_of_whole_persons():
    prediction_ND, target_ND, person_N = ratings(persons=80)
    found = dimension_metrics(dimension_counts(prediction_ND, target_ND, person_N, NAMES), NAMES)
    rng = np.random.default_rng(4)
    rows = [np.flatnonzero(person_N == p) for p in range(80)]
    drawn = [np.concatenate([rows[p] for p in rng.integers(0, 80, 80)]) for _ in range(600)]
    for column, name in enumerate(NAMES):
        x_N, y_N = prediction_ND[:, column], target_ND[:, column]
        width = 2 * 1.99 * np.std([ccc(x_N[d], y_N[d]) for d in drawn])
        assert found[name].ccc.high - found[name].ccc.low == pytest.approx(width, rel=0.15)
        width = 2 * 1.99 * np.std([np.mean((x_N[d] - y_N[d]) ** 2) for d in drawn])
        assert found[name].mse.high - found[name].mse.low == pytest.approx(width, rel=0.15)


def test_a_clip_without_a_rating_is_left_out_of_that_dimension_only():
    prediction_ND, target_ND, person_N = ratings()
    target_ND[:7, 0] = np.nan
    found = dimension_metrics(dimension_counts(prediction_ND, target_ND, person_N, NAMES), NAMES)
    assert found["valence"].clips == len(person_N) - 7
    assert found["arousal"].clips == len(person_N)


def test_a_constant_prediction_of_a_constant_agrees_with_nothing():
    lanes = dimension_counts(np.ones((4, 1)), np.ones((4, 1)), np.arange(4), ("valence",))
    found = dimension_metrics(lanes, ("valence",))["valence"]
    assert (found.ccc.value, found.mse.value) == (0.0, 0.0)


def test_what_cannot_be_evaluated_is_refused():
    empty = dimension_counts(np.ones((2, 1)), np.full((2, 1), np.nan), np.arange(2), ("valence",))
    with pytest.raises(DataError, match="at least one clip with valence"):
        dimension_metrics(empty, ("valence",))
    with pytest.raises(ConfigError, match="diverged"):
        dimension_counts(np.full((2, 1), np.inf), np.ones((2, 1)), np.arange(2), ("valence",))
