import numpy as np
import pytest

from simulations.corpus import latent


def everything(n=1000):
    return np.ones((n, len(latent.MODALITIES)), dtype=bool)


def ceiling(present_NM):
    return latent.ceiling_uar(np.random.default_rng(1), present_NM)


def test_the_ceiling_leaves_room_below_the_agreement_of_the_labels():
    assert 0.85 < ceiling(everything()) < 1 - latent.DISAGREEMENT


def test_all_modalities_together_tell_more_than_any_alone():
    together = ceiling(everything())
    alone = [ceiling(latent.alone(name, everything())) for name in latent.MODALITIES]
    assert together > max(alone) + 0.05
    assert min(alone) > 1 / len(latent.CLASSES) + 0.2


def test_nothing_present_leaves_chance():
    assert ceiling(~everything()) == pytest.approx(1 / len(latent.CLASSES))


def test_the_best_guess_is_not_beaten_by_other_rules_on_the_same_cues():
    rng = np.random.default_rng(2)
    label_N = np.arange(5000) % len(latent.CLASSES)
    cues_ND = latent.draw_cues(rng, latent.expressed(rng, label_N))
    best = np.mean(latent.best_guess(cues_ND, everything(5000)) == label_N)
    for dropped in latent.MODALITIES:
        present_NM = everything(5000)
        present_NM[:, latent.MODALITIES.index(dropped)] = False
        assert best > np.mean(latent.best_guess(cues_ND, present_NM) == label_N)


def test_labels_disagree_as_often_as_stated():
    label_N = np.zeros(20_000, dtype=np.int64)
    found_N = latent.expressed(np.random.default_rng(3), label_N)
    assert np.mean(found_N != 0) == pytest.approx(latent.DISAGREEMENT, abs=0.005)
    assert set(found_N) == set(range(len(latent.CLASSES)))


def test_labels_of_a_person_are_as_even_as_can_be():
    for clips in (1, 5, 7, 10):
        labels = latent.labels_for(np.random.default_rng(clips), clips)
        counts = np.bincount(labels, minlength=len(latent.CLASSES))
        assert len(labels) == clips
        assert counts.max() - counts.min() <= 1
