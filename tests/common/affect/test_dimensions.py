import numpy as np
import pytest

from common.affect import dimension_counts, dimension_lanes, dimension_metrics
from common.affect.dimensions import STEPS
from common.errors import ConfigError, DataError

SPANS = {"valence": 1.0, "arousal": 4.0}
NAMES = tuple(SPANS)


def ratings(seed=0, persons=50):
    """Places in the range of two dimensions, with persons who are rated and predicted askew."""
    rng = np.random.default_rng(seed)
    person_N = np.repeat(np.arange(persons), rng.integers(3, 20, persons))
    target_ND = rng.normal(0, 1, (len(person_N), 2)) + rng.normal(0, 0.5, (persons, 2))[person_N]
    bias_PD = rng.normal(0, 0.3, (persons, 2))
    prediction_ND = 0.6 * target_ND + bias_PD[person_N] + rng.normal(0, 0.5, target_ND.shape)
    return 0.5 + prediction_ND / 10, 0.5 + target_ND / 10, person_N


def ccc(x_N, y_N):
    covariance = np.cov(x_N, y_N, bias=True)
    return 2 * covariance[0, 1] / (np.trace(covariance) + (x_N.mean() - y_N.mean()) ** 2)


def measured(prediction_ND, target_ND, person_N):
    return dimension_metrics(dimension_counts(prediction_ND, target_ND, person_N, NAMES), SPANS)


def test_figures_are_those_of_the_plain_formulas():
    prediction_ND, target_ND, person_N = ratings()
    assert tuple(dimension_counts(prediction_ND, target_ND, person_N, NAMES)) == dimension_lanes(
        NAMES
    )
    for column, (name, span) in enumerate(SPANS.items()):
        found = measured(prediction_ND, target_ND, person_N)[name]
        x_N, y_N = span * prediction_ND[:, column], span * target_ND[:, column]
        assert found.ccc.value == pytest.approx(ccc(x_N, y_N), abs=1e-3)
        assert found.mse.value == pytest.approx(np.mean((x_N - y_N) ** 2), rel=2e-3)
        assert found.variance == pytest.approx(np.var(y_N), rel=2e-3)
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
    found = measured(prediction_ND, target_ND, person_N)
    rng = np.random.default_rng(4)
    rows = [np.flatnonzero(person_N == p) for p in range(80)]
    drawn = [np.concatenate([rows[p] for p in rng.integers(0, 80, 80)]) for _ in range(600)]
    for column, (name, span) in enumerate(SPANS.items()):
        x_N, y_N = span * prediction_ND[:, column], span * target_ND[:, column]
        width = 2 * 1.99 * np.std([ccc(x_N[d], y_N[d]) for d in drawn])
        assert found[name].ccc.high - found[name].ccc.low == pytest.approx(width, rel=0.15)
        width = 2 * 1.99 * np.std([np.mean((x_N[d] - y_N[d]) ** 2) for d in drawn])
        assert found[name].mse.high - found[name].mse.low == pytest.approx(width, rel=0.15)


def test_a_clip_without_a_rating_is_left_out_of_that_dimension_only():
    prediction_ND, target_ND, person_N = ratings()
    target_ND[:7, 0] = np.nan
    found = measured(prediction_ND, target_ND, person_N)
    assert found["valence"].clips == len(person_N) - 7
    assert found["arousal"].clips == len(person_N)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.77])
def test_a_constant_prediction_of_a_constant_agrees_with_nothing(place):
    everywhere = np.full((6, 1), place)
    lanes = dimension_counts(everywhere, everywhere, np.arange(6) // 2, ("valence",))
    found = dimension_metrics(lanes, {"valence": 2.0})["valence"]
    assert (found.ccc.value, found.mse.value, found.variance) == (0.0, 0.0, 0.0)


def test_what_lies_outside_the_range_counts_as_its_end():
    """Quotes the module: a prediction and a rating are cut to the declared range."""
    far, end = np.array([[7.0], [-3.0]]), np.array([[1.0], [0.0]])
    whose, names = np.arange(2), ("valence",)
    assert dimension_counts(far, far, whose, names) == dimension_counts(end, end, whose, names)


def test_a_hundred_persons_of_ten_thousand_clips_each_fit_their_lanes():
    """The largest products are those of clips by person, and stay below 2^62 over 16 sites."""
    ones_N1 = np.ones((10_000, 1))
    lanes = dimension_counts(ones_N1, ones_N1, np.zeros(10_000, int), ("valence",))
    assert max(map(abs, lanes.values())) == (10_000 * STEPS) ** 2
    assert 100 * max(lanes.values()) < (1 << 62) // 16


def test_what_cannot_be_evaluated_is_refused():
    empty = dimension_counts(np.ones((2, 1)), np.full((2, 1), np.nan), np.arange(2), ("valence",))
    with pytest.raises(DataError, match="at least one clip with valence"):
        dimension_metrics(empty, {"valence": 2.0})
    with pytest.raises(ConfigError, match="diverged"):
        dimension_counts(np.full((2, 1), np.inf), np.ones((2, 1)), np.arange(2), ("valence",))
