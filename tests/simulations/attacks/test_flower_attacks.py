"""What was observed on Flower 1.41: a later version that withstands an attack fails here."""

import numpy as np
import pytest

from common.errors import EnvironmentFault
from simulations.attacks import flower_masks
from simulations.attacks.flower_attacks import ATTACKS, Bench, attack_flower, flat
from simulations.attacks.flower_side import STEP, FlowerSites, in_clear
from simulations.attacks.scene import SITES, VICTIM

CLIPS = 48
ROUNDING = STEP * 1000.0 / CLIPS
"""One step of Flower's quantisation, as it shows in a recovered value."""


@pytest.mark.parametrize("name", ATTACKS)
def test_the_victims_update_comes_out(scene, name):
    found = attack_flower(scene, name)
    assert found.found.recovered == found.found.values == 187
    sums = 1 if name not in ("replay", "different_models") else len(SITES)
    assert found.found.largest_error <= 1.01 * sums * ROUNDING
    assert found.found.largest_error < scene.largest_value() / 1000
    assert found.how
    assert bool(found.said) == (name == "replay")


def test_only_a_second_unmask_is_refused(scene):
    found = attack_flower(scene, "replay")
    assert {one.site for one in found.said} == set(SITES)
    assert {(one.stage, one.error) for one in found.said} == {("unmask", "ValueError")}
    assert all("expect setup stage" in one.reason for one in found.said)
    assert "second UNMASK is refused" in found.how


def test_an_attack_that_flower_stops_is_said_to_be_stopped(scene, monkeypatch):
    """With a client that checks the keys, nothing is claimed."""
    share = FlowerSites.share

    def checking(self, told):
        if set(told) == {VICTIM} and len(told[VICTIM]) == len(SITES):
            told = {VICTIM: {VICTIM: (b"another", b"key")}}
        return share(self, told)

    monkeypatch.setattr(FlowerSites, "share", checking)
    found = attack_flower(scene, "key_swap")
    assert found.found.recovered == 0
    assert [one.site for one in found.said] == [VICTIM]


def test_a_round_by_the_book_tells_the_sum_alone(scene):
    """One masked vector is no guess at the victim's update."""
    at = Bench(scene, FlowerSites(scene))
    _, uploads = at.masked(SITES, dict.fromkeys(SITES, scene.model))
    assert at.found(in_clear(uploads[VICTIM].vector_P)).recovered == 0
    parts = [flat(scene.trained(site, scene.model)[0]) for site in SITES]
    total_P = at.total(uploads)
    mean_P = (total_P[1:] * STEP - 8.0 * len(SITES)) / (total_P[0] / (1 << 22))
    assert np.abs(mean_P - np.mean(parts, axis=0)).max() <= 1.01 * ROUNDING


def test_a_mask_depends_on_28_bits():
    found = flower_masks.guessing(parties=16, guesses=10)
    assert (found.bits, found.keys) == (28, 120)
    assert found.guess_s > 0


def test_masks_made_in_another_way_are_not_reported(monkeypatch):
    monkeypatch.setattr(flower_masks, "_fold", lambda key: key[:4])
    with pytest.raises(EnvironmentFault):
        flower_masks.guessing(parties=3, guesses=1)
