"""Weights and activations that were chosen to break clipping: sums whose parts are huge and cancel.

Whoever sends the weights chooses how large activations and gradients are. One person with
balanced classes under logits of zero has gradients that cancel: then rounding errors of single
precision, shares of the parts and not of the sum, would be all that is released.
"""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from common.errors import PrivacyError
from common.privacy.clipping import clipped_sum
from common.privacy.layer_rules import RULES

HUGE = 2.0**60


def cross_entropy(logits_BC, y_BC):
    return -(y_BC * F.log_softmax(logits_BC, dim=-1)).sum(-1)


class Averaged(nn.Module):
    """A stack whose last values, averaged and scaled, are two logits."""

    def __init__(self, *layers, scale=1.0):
        super().__init__()
        self.stack, self.scale = nn.Sequential(*layers), scale

    def forward(self, x, present_BM):
        out_BTO = self.stack(x["a"])
        return out_BTO.reshape(len(out_BTO), -1, 2).mean(1) * self.scale


def filled(layer, weight, bias=0.0):
    with torch.no_grad():
        for parameter, value in ((layer.weight, weight), (layer.bias, bias)):
            if parameter is not None:
                parameter.copy_(torch.as_tensor(value).expand_as(parameter))
    return layer


def huge_head(inputs):
    """A frozen last layer: gradients of what lies below it are huge."""
    head = filled(nn.Linear(inputs, 2), HUGE * torch.randn(2, inputs))
    return head.requires_grad_(False)


def twice(values):
    """The same rows under either label: in exact arithmetic, nothing is left."""
    return torch.cat([values, values])


def alike(rows, *shape):
    """Huge rows that differ in their last bits between the labels."""
    rows = twice(torch.randn(rows // 2, *shape))
    return HUGE * rows * (1 + 1e-7 * torch.randn(rows.shape))


class ChannelsLast(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


ATTACKS = {
    "linear, gram": lambda: (
        Averaged(filled(nn.Linear(64, 2), 0.0)),
        HUGE * twice(torch.randn(2, 64)),
    ),
    "linear, gram, nearly": lambda: (Averaged(filled(nn.Linear(64, 2), 0.0)), alike(4, 64)),
    "linear, direct": lambda: (Averaged(filled(nn.Linear(8, 2), 0.0)), alike(32, 8)),
    "linear, direct, over time": lambda: (Averaged(filled(nn.Linear(3, 2), 0.0)), alike(4, 50, 3)),
    "linear, bias alone": lambda: (
        Averaged(filled(nn.Linear(8, 2), 0.0), scale=HUGE),
        0 * alike(32, 8),
    ),
    "through a layer norm's bias": lambda: (
        Averaged(filled(nn.LayerNorm(64), 2.0**40, HUGE), filled(nn.Linear(64, 2), 0.0)),
        twice(torch.randn(2, 64)),
    ),
    "layer norm": lambda: (
        Averaged(filled(nn.LayerNorm(16), 0.0), huge_head(16)),
        twice(torch.randn(16, 5, 16)),
    ),
    "group norm": lambda: (
        Averaged(filled(nn.GroupNorm(2, 16), 0.0), ChannelsLast(), huge_head(16)),
        twice(torch.randn(16, 16, 5)),
    ),
    "conv1d": lambda: (
        Averaged(filled(nn.Conv1d(4, 2, 3), 0.0), ChannelsLast()),
        alike(32, 4, 20),
    ),
    "conv2d": lambda: (
        Averaged(filled(nn.Conv2d(2, 2, 3), 0.0), nn.Flatten(2), ChannelsLast()),
        alike(32, 2, 6, 6),
    ),
    "embedding": lambda: (
        Averaged(filled_table(nn.Embedding(5, 16)), huge_head(16)),
        twice(torch.randint(0, 5, (2, 30))),
    ),
    "inputs that vanish when squared": lambda: (
        Averaged(filled(nn.Linear(64, 2), 0.0), scale=1e35),
        1e-25 * torch.randn(1, 64),
    ),
    "a sum beyond what single precision can square": lambda: (
        Averaged(filled(nn.LayerNorm(16), 0.0), huge_head(16), scale=2.0**20),
        torch.randn(2, 16),
    ),
}


def filled_table(table):
    nn.init.zeros_(table.weight)
    return table


def attack(name, seed):
    torch.manual_seed(seed)
    model, values = ATTACKS[name]()
    y_BC = F.one_hot((torch.arange(len(values)) >= len(values) // 2).long(), 2).float()
    return model, values, y_BC


def released(model, values, y_BC, unit_B, num_units):
    present_BM = torch.ones(len(values), 1, dtype=torch.bool)
    found = clipped_sum(
        model, cross_entropy, {"a": values}, present_BM, y_BC, unit_B, num_units, 1.0
    )
    return torch.cat([tensor.flatten() for tensor in found.gradients.values()]).double()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ATTACKS)
def test_what_one_person_releases_is_within_the_clipping_norm(name, seed):
    model, values, y_BC = attack(name, seed)
    alone = released(model, values, y_BC, torch.zeros(len(values), dtype=torch.long), 1)
    assert torch.isfinite(alone).all()
    assert float(alone.norm()) <= 1.0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ATTACKS)
def test_one_person_among_others_moves_the_sum_within_the_clipping_norm(name, seed):
    """Nine persons with the same weights: what is added up is as hostile as what is clipped."""
    model, values, y_BC = attack(name, seed)
    rows = len(values)
    everybody = torch.cat([values, *[values.roll(shift, -1) for shift in range(8)]])
    labels, unit_B = y_BC.repeat(9, 1), torch.arange(9).repeat_interleave(rows)
    whole = released(model, everybody, labels, unit_B, 9)
    without = released(model, everybody[rows:], labels[rows:], unit_B[rows:], 9)
    assert float((whole - without).norm()) <= 1.0


def test_every_rule_is_attacked():
    attacked = {type(layer) for name in ATTACKS for layer in attack(name, 0)[0].modules()}
    assert set(RULES) <= attacked


def test_a_gradient_that_cancels_as_honest_ones_do_is_not_shortened_for_it():
    """Parts a hundred times as long as their sum: the sum goes out as if it were exact."""
    torch.manual_seed(0)
    model, rows = Averaged(filled(nn.Linear(64, 2), 0.0)), 64
    values = 100 + torch.randn(rows, 64)
    y_BC = F.one_hot(torch.arange(rows) % 2, 2).float()
    found = released(model, values, y_BC, torch.zeros(rows, dtype=torch.long), 1)
    b_BO = (0.5 - y_BC).double() / rows
    exact = torch.cat([(b_BO.t() @ values.double()).flatten(), b_BO.sum(0)])
    mass = float((b_BO.norm(dim=1) * values.double().norm(dim=1)).sum())
    assert 100 < mass / float(exact.norm()) < 4096
    expected = exact * min(1.0, 1 / float(exact.norm()))
    assert float((found - expected).norm()) < 2e-4


class Folded(nn.Module):
    """Time is folded into the batch: a layer sees as many rows as there are frames."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x, present_BM):
        x_BSI = x["a"]
        return self.layer(x_BSI.reshape(-1, 4)).reshape(*x_BSI.shape[:2], 2).mean(1)


class Shared(nn.Module):
    """A layer reads one row that all clips share."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x, present_BM):
        return self.layer(torch.ones(1, 4)).expand(len(present_BM), 2)


@pytest.mark.parametrize("model", [Folded, Shared])
@pytest.mark.parametrize("persons", [6, 3])
def test_a_layer_that_sees_other_rows_than_the_batch_s_is_refused(model, persons):
    """Or each of its rows would be clipped by itself, and a unit of 60 frames move 60 times C."""
    unit_B = torch.arange(6) % persons
    y_BC = F.one_hot(unit_B % 2, 2).float()
    given = {"a": torch.randn(6, 10, 4)}, torch.ones(6, 1, dtype=torch.bool), y_BC
    with pytest.raises(PrivacyError, match=r"'layer'.*batch as the first dimension"):
        clipped_sum(model(), cross_entropy, *given, unit_B, persons, 1.0)
