"""A run as it could have been, for the tests of the page and the screen."""

import numpy as np
import pytest

from common.affect import Evaluation, metrics_from_lanes, person_counts
from simulations.report import Ceiling, RoundPoint, RunResult, SiteAccount

CLASSES = ("anger", "fear", "joy", "neutral", "sadness")
SITES = ("aspen", "birch", "cedar", "elm", "juniper", "larch")


def metrics(skill, seed=0, persons=72, clips=5):
    rng = np.random.default_rng(seed)
    truth_N = np.tile(np.arange(5), persons * clips // 5)
    scores_NC = rng.normal(size=(len(truth_N), 5))
    scores_NC[np.arange(len(truth_N)), truth_N] += skill
    probabilities_NC = np.exp(scores_NC) / np.exp(scores_NC).sum(axis=1, keepdims=True)
    person_N = np.repeat(np.arange(persons), clips)
    return metrics_from_lanes(
        person_counts(probabilities_NC, np.eye(5)[truth_N], person_N, CLASSES), CLASSES
    )


def account(index, name):
    spent = tuple((r, 7.9 * (r / 8) ** 0.6 - 0.1 * index) for r in range(1, 9))
    return SiteAccount(
        name=name,
        persons=42 - 5 * index,
        clips=210 - 25 * index,
        modalities=("audio", "physio", "text", "video") if index % 3 < 2 else ("audio", "text"),
        rounds=8,
        unit="person",
        epsilon_by_round=spent,
        epsilon_spent=spent[-1][1],
        epsilon_limit=8.0,
        delta=1e-3,
        ledger_verified=True,
    )


def _finished_run(**changes):
    values = {
        "study": "demo",
        "engine": "flwr run",
        "mode": "local",
        "rounds": tuple(RoundPoint(r, Evaluation(metrics(0.3 + 0.25 * r))) for r in range(1, 9)),
        "rounds_without_privacy": tuple(
            RoundPoint(r, Evaluation(metrics(1 + 0.3 * r))) for r in range(1, 9)
        ),
        "sites": tuple(account(i, name) for i, name in enumerate(SITES)),
        "views": {
            "only audio": 0.51,
            "only physio": 0.36,
            "only text": 0.48,
            "only video": 0.55,
            "without audio": 0.66,
            "without physio": 0.7,
            "without text": 0.63,
            "without video": None,
        },
        "ceiling": Ceiling(0.93, "an observer who knows how the recordings were made"),
        "released_exactly": ("Counts of right answers over all sites together.",),
        "settings": {"privacy.target_epsilon": "8.0", "model.fusion": "late"},
        "limits": ("A person treated at two sites spends at both.",),
        "parameters": 12_345,
        "seconds": 131.0,
    }
    return RunResult(**(values | changes))


@pytest.fixture(scope="session")
def finished_run():
    return _finished_run
