"""Distance of a model's shares from the raters' votes."""

import numpy as np
import pytest
from scipy.special import rel_entr

from common.affect import rater_counts, rater_lanes, rater_metrics
from common.affect.raters import MOST_NATS


def shares(seed=0, persons=40):
    rng = np.random.default_rng(seed)
    person_N = np.repeat(np.arange(persons), rng.integers(3, 12, persons))
    votes_NC = rng.multinomial(7, [0.5, 0.3, 0.2], len(person_N)) / 7
    return rng.dirichlet([3, 2, 1], len(person_N)), votes_NC, person_N


def test_figures_are_the_plain_means():
    said_NC, votes_NC, person_N = shares()
    lanes = rater_counts(said_NC, votes_NC, person_N)
    assert tuple(lanes) == rater_lanes()
    found = rater_metrics(lanes)
    nats_N = np.minimum(rel_entr(votes_NC, said_NC).sum(axis=1), MOST_NATS)
    assert found.divergence.value == pytest.approx(nats_N.mean(), abs=1e-3)
    overlap = 1 - 0.5 * np.abs(said_NC - votes_NC).sum(axis=1).mean()
    assert found.overlap.value == pytest.approx(overlap, abs=1e-3)
    assert found.overlap.low < found.overlap.value < found.overlap.high


def test_intervals_agree_with_a_bootstrap_of_whole_persons():
    said_NC, votes_NC, person_N = shares(persons=80)
    found = rater_metrics(rater_counts(said_NC, votes_NC, person_N))
    overlap_N = 1 - 0.5 * np.abs(said_NC - votes_NC).sum(axis=1)
    rng = np.random.default_rng(1)
    rows = [np.flatnonzero(person_N == p) for p in range(80)]
    drawn = [np.concatenate([rows[p] for p in rng.integers(0, 80, 80)]) for _ in range(500)]
    width = 2 * 1.99 * np.std([overlap_N[d].mean() for d in drawn])
    assert found.overlap.high - found.overlap.low == pytest.approx(width, rel=0.2)


def test_a_model_that_says_what_raters_say_is_at_no_distance():
    _, votes_NC, person_N = shares()
    found = rater_metrics(rater_counts(votes_NC, votes_NC, person_N))
    assert found.divergence.value == pytest.approx(0, abs=1e-6)
    assert found.overlap.value == pytest.approx(1, abs=1e-3)


def test_one_clip_that_is_wholly_wrong_counts_for_eight_nats_and_nobody_for_nothing():
    lanes = rater_counts(np.eye(2)[[0]], np.eye(2)[[1]], np.array([0]))
    assert rater_metrics(lanes).divergence.value == MOST_NATS
    nothing = rater_counts(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0, int))
    assert rater_metrics(nothing) is None
