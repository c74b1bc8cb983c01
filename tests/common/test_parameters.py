"""A model as named arrays: there and back, and refused where it does not fit."""

import numpy as np
import pytest
import torch
from torch import nn

from common.errors import ProtocolError
from common.parameters import group_of, load_arrays, model_hash, to_arrays, trainable_names


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoders = nn.ModuleDict({"audio": nn.Linear(3, 2), "text": nn.Linear(2, 2)})
        self.head = nn.Linear(2, 2)
        self.head.bias.requires_grad = False
        self.register_buffer("centre", torch.zeros(2))


def test_arrays_are_copies():
    model = Small()
    arrays = to_arrays(model)
    arrays["centre"][:] = 7
    assert model.centre.sum() == 0
    assert all(value.dtype == np.float32 for value in arrays.values())


def test_what_was_taken_out_goes_back_in():
    first, second = Small(), Small()
    load_arrays(second, to_arrays(first))
    assert model_hash(to_arrays(first)) == model_hash(to_arrays(second))


def broken(change):
    arrays = to_arrays(Small())
    change(arrays)
    return arrays


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.pop("centre"), "centre"),
        (lambda a: a.update(extra=np.zeros(1)), "extra"),
        (lambda a: a.update(centre=np.zeros(3)), "centre: expected"),
        (lambda a: a.update(centre=np.zeros((2, 1))), "centre: expected"),
        (lambda a: a.update(centre=np.array([0, np.nan])), "not finite"),
        (lambda a: a.update(centre=np.array([0, np.inf])), "not finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, said):
    with pytest.raises(ProtocolError, match=said):
        load_arrays(Small(), broken(change))


def test_what_training_changes_is_named_in_the_models_order():
    names = trainable_names(Small())
    assert "head.bias" not in names
    assert "centre" not in names
    assert names[0] == "encoders.audio.weight"


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("encoders.audio.weight", "audio"),
        ("encoders.features_a.0.bias", "features_a"),
        ("head.weight", "all"),
        ("fusion.encoders.x", "all"),
        ("encoders.audio", "all"),
    ],
)
def test_a_tensor_belongs_to_its_modality_or_to_all(name, group):
    assert group_of(name) == group


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.update(centre=np.array([0, 1], np.float32)),
        lambda a: a.update(centre=np.zeros((2, 1), np.float32)),
        lambda a: a.update(center=a.pop("centre")),
    ],
)
def test_any_change_changes_the_hash(change):
    arrays = to_arrays(Small())
    before = model_hash(arrays)
    assert model_hash(dict(reversed(arrays.items()))) == before
    change(arrays)
    assert model_hash(arrays) != before


def test_the_type_in_which_a_tensor_was_sent_changes_nothing():
    arrays = to_arrays(Small())
    as_sent = {name: value.astype(np.float64) for name, value in arrays.items()}
    assert model_hash(as_sent) == model_hash(arrays)
