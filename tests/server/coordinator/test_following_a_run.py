"""What a coordinator's terminal says of each round."""

import pytest

from common.affect import DimensionMetrics, Estimate, Evaluation, described, headline
from common.affect.described import read_described
from server.coordinator import followed
from server.following import progress

ROUND = {"event": "round", "round": 3, "sites": ["hill", "mill"], "missing": ["lake"]}


@pytest.fixture
def said(capsys):
    def say(line):
        followed.say(line)
        return " ".join(capsys.readouterr().out.split())

    return say


def test_a_round_says_who_is_in_it_and_who_is_not(said):
    assert said(ROUND) == "round 3: hill, mill, without lake"


def test_an_evaluated_round_says_its_main_figure(said, open_run):
    line = [line for line in progress(open_run.run.root) if line["event"] == "round"][-1]
    assert said(line).endswith(f", UAR {headline(read_described(line)).text}")


def test_a_study_without_classes_says_its_own(said):
    one = Estimate(0.4, 0.3, 0.5)
    found = Evaluation(dimensions={"valence": DimensionMetrics(one, one, 0.1, 5, 20)})
    assert said(ROUND | described(found)).endswith(", CCC of valence 0.400")
