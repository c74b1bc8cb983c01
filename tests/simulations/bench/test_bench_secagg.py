import math

import pytest

from common.secagg import masks, packing
from simulations.bench.flower_secagg import MASK, SHARE, client_s, fedavg_s, secagg_plus
from simulations.bench.secagg import ASKED, of_large, of_masks, of_rounds, of_sharing
from simulations.bench.tacit_secagg import Round, secure_sum, warm_up

ROUNDS = [
    "client: quantise, mask, serialise",
    "client: all stages",
    "server: sum, recover, decode",
    "server, 10 % dropped",
    "server: all stages",
    "server against plaintext FedAvg",
    "upload against float32",
]
SHARING = ["share stage, x25519", "share stage, mlkem768_x25519"]
MASKS = "masks applied against raw AES-256-CTR"


def test_every_figure_is_a_ratio_of_two_costs():
    figures = of_masks(6000) + of_rounds(10, 6000, 1) + of_sharing(4) + of_large(4, 3000)
    assert [figure.what for figure in figures] == [MASKS, *ROUNDS, *SHARING, ROUNDS[0]]
    for figure in figures:
        assert min(figure.baseline, figure.tacit, figure.ratio) > 0
        less = figure.kind == "share"
        costs = (figure.baseline, figure.tacit)[:: 1 if less else -1]
        assert figure.ratio == pytest.approx(costs[1] / costs[0])
        assert figure.asked is None, "nothing was asked at these sizes"
    assert [f.what for f in figures if f.kind == "share"] == ROUNDS[-2:]


def test_what_was_asked_names_figures_that_there_are():
    assert {what for what, _, _ in ASKED} <= {MASKS, *ROUNDS, *SHARING}
    assert {n for what, n, _ in ASKED if what in ROUNDS} == {10, 50}


def test_the_whole_round_costs_more_than_its_parts():
    for cost in (secagg_plus(5, 3000), secure_sum(5, 3000)):
        assert cost.client_round_s > cost.client_share_s + cost.client_mask_s
        assert cost.server_round_s >= cost.server_s


@pytest.mark.parametrize("lost", [0, 1])
def test_both_sides_finish_with_and_without_a_loss(lost):
    flower, tacit = secagg_plus(4, 3000, lost), secure_sum(4, 3000, lost)
    # 3000 fields of 21 bits; Flower sends its own quantised integers
    assert 8 * 1000 < tacit.upload_bytes < 8 * 1000 + 300
    assert flower.upload_bytes > tacit.upload_bytes
    assert min(flower.server_s, tacit.server_s, fedavg_s(4, 3000)) > 0


def test_a_stage_can_be_measured_without_the_rest_of_the_round():
    for stage in (SHARE, MASK):
        assert 0 < client_s(4, 300, stage, clients=2) < math.inf
    assert 0 < Round(4, 300, 0, "x25519").client_share_s(2) < math.inf
    assert 0 < Round(4, 300, 0, "x25519").client_mask_s(2) < math.inf


def test_three_sites_cannot_lose_one():
    with pytest.raises(Exception, match="expected 3 sites"):
        secure_sum(3, 100, lost=1)


def test_nothing_is_compiled_any_more_while_it_is_timed():
    warm_up()
    for loop in (packing.put_rounded, packing.take_field, masks.weighed):
        assert "machine" in vars(loop)
    for loop in (masks.add_two, masks.add_four):
        kinds = len(loop.machine.signatures)
        secure_sum(6, 100_000, lost=1)
        assert len(loop.machine.signatures) == kinds >= 1
