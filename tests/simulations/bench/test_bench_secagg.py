import pytest

from simulations.bench.flower_secagg import fedavg_s, secagg_plus
from simulations.bench.secagg import measure
from simulations.bench.tacit_secagg import secure_sum


def test_the_table_has_every_figure_with_what_was_asked():
    rows = measure(sites=(10,), parameters=6000, repetitions=1, share_sites=4)
    assert [row.what for row in rows] == [
        "masks applied against raw AES-256-CTR",
        "client: quantise, mask, serialise",
        "server: sum, recover, decode",
        "server, 10 % dropped",
        "server against plaintext FedAvg (share)",
        "upload against float32 (share)",
        "share stage, x25519",
        "share stage, mlkem768_x25519",
    ]
    for row in rows:
        assert min(row.flower, row.tacit, row.ratio) > 0
        less = "(share)" in row.what
        assert row.ratio == pytest.approx(
            row.tacit / row.flower if less else row.flower / row.tacit
        )
        assert row.met == (round(row.ratio, 2) <= row.asked if less else row.ratio >= row.asked)


@pytest.mark.parametrize("lost", [0, 1])
def test_both_sides_finish_with_and_without_a_loss(lost):
    flower, tacit = secagg_plus(4, 3000, lost), secure_sum(4, 3000, lost)
    # 3000 fields of 21 bits; Flower sends its own quantised integers
    assert 8 * 1000 < tacit.upload_bytes < 8 * 1000 + 300
    assert flower.upload_bytes > tacit.upload_bytes
    assert min(flower.server_s, tacit.server_s, fedavg_s(4, 3000)) > 0


def test_three_sites_cannot_lose_one():
    with pytest.raises(Exception, match="expected 3 sites"):
        secure_sum(3, 100, lost=1)
