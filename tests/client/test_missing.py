"""What is hidden at random: how much, of what, and that it depends on names and a seed alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from client.data.arrays import SiteData
from client.missing import shown, with_missing
from common.missing import Missing
from common.models.registry import build

PERSONS, CLIPS = 80, 25


def make_data(present=None):
    """Persons of equally many clips with three modalities; features of ones."""
    number = PERSONS * CLIPS
    names = ("audio", "text", "video")
    present_NM = np.ones((number, 3), dtype=bool) if present is None else present
    x = {n: present_NM[:, [c]] * np.ones((number, 4), np.float32) for c, n in enumerate(names)}
    return SiteData(
        x=x,
        present_NM=present_NM,
        y_NC=np.eye(2, dtype=np.float32)[np.arange(number) % 2],
        person_N=np.repeat(np.arange(PERSONS), CLIPS),
        person_ids=tuple(f"p{i:02d}" for i in range(PERSONS)),
        sample_ids=tuple(f"clip{i}" for i in range(number)),
        split_N=np.full(number, ""),
    )


def test_nothing_is_hidden_by_default():
    data = make_data()
    assert with_missing(data, Missing()) is data


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_as_much_is_hidden_as_was_said_but_for_what_a_clip_keeps(rate):
    kept_NM = shown(make_data(), Missing(rate))
    expected = rate - rate**3 / 3
    assert abs((~kept_NM).mean() - expected) < 0.02
    assert kept_NM.any(axis=1).all()


def test_what_is_hidden_is_zero_and_absent():
    data = with_missing(make_data(), Missing(0.5))
    for column, values in enumerate(data.x.values()):
        np.testing.assert_array_equal(values.any(axis=1), data.present_NM[:, column])


def test_a_higher_rate_hides_more_of_the_same():
    """Each modality that a clip shows at 60 % was shown at 30 %, unless it is its last one."""
    low_NM, high_NM = (shown(make_data(), Missing(rate)) for rate in (0.3, 0.6))
    alone_N = high_NM.sum(axis=1) == 1
    assert not (high_NM & ~low_NM)[~alone_N].any()
    assert low_NM.sum() > high_NM.sum()


def test_the_order_of_clips_makes_no_difference_and_the_seed_does():
    data, order_N = make_data(), np.random.default_rng(1).permutation(PERSONS * CLIPS)
    moved = data.take(order_N)
    np.testing.assert_array_equal(shown(data, Missing(0.4))[order_N], shown(moved, Missing(0.4)))
    assert (shown(data, Missing(0.4)) != shown(data, Missing(0.4, seed=1))).any()


def test_by_person_all_clips_of_a_person_lose_the_same():
    kept_PNM = shown(make_data(), Missing(0.5, by="person")).reshape(PERSONS, CLIPS, 3)
    assert (kept_PNM == kept_PNM[:, :1]).all()
    assert 0.4 < (~kept_PNM[:, 0]).mean() < 0.55


def test_what_was_absent_stays_absent_and_a_single_modality_is_kept():
    present_NM = np.ones((PERSONS * CLIPS, 3), dtype=bool)
    present_NM[::2, 1:] = False
    present_NM[0] = False
    kept_NM = shown(make_data(present_NM), Missing(0.9))
    assert not (kept_NM & ~present_NM).any()
    assert kept_NM[2::2, 0].all()
    assert not kept_NM[0].any()


def test_training_alone_hides_nothing_in_evaluation(lay_table):
    table = lay_table("missing.rate=0.9", "missing.evaluation=false")
    site = table.session("harbour")
    full = lay_table().session("harbour")
    assert site.train_data.present_NM.sum() < full.train_data.present_NM.sum()
    np.testing.assert_array_equal(site.evaluation_data.present_NM, full.evaluation_data.present_NM)


@pytest.mark.parametrize("pairs", [(), ("model.fusion=transformer", "model.hidden=8")])
def test_filling_with_zeros_counts_what_is_absent_and_masking_does_not(tiny_study, pairs):
    """With a bias that says something, zeros speak; an absent modality is silent."""
    masked = build(tiny_study(*pairs)).eval()
    zeros = build(tiny_study(*pairs, "missing.fusion=zeros")).eval()
    for model in (masked, zeros):
        torch.manual_seed(0)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter)
    x = {"features_a": torch.randn(3, 6), "features_b": torch.randn(3, 4)}
    whole_BM = torch.ones(3, 2, dtype=torch.bool)
    part_BM = whole_BM.clone()
    part_BM[:, 1] = False
    torch.testing.assert_close(masked(x, whole_BM), zeros(x, whole_BM))
    assert not torch.allclose(masked(x, part_BM), zeros(x, part_BM))
    x["features_b"] = torch.zeros(3, 4)
    torch.testing.assert_close(zeros(x, part_BM), masked(x, whole_BM))
    assert (zeros(x, ~whole_BM) == 0).all()


def test_names_of_persons_and_clips_alone_decide():
    data = make_data()
    x = {name: 2 * values for name, values in data.x.items()}
    other = replace(data, x=x, y_NC=1 - data.y_NC)
    renamed = replace(other, person_ids=tuple(reversed(data.person_ids)))
    by_clip, by_person = Missing(0.5), Missing(0.5, by="person")
    np.testing.assert_array_equal(shown(data, by_clip), shown(renamed, by_clip))
    np.testing.assert_array_equal(shown(data, by_person), shown(other, by_person))
    assert (shown(data, by_person) != shown(renamed, by_person)).any()
