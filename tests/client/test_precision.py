"""Shorter products, tried on the CPU: what clipping promises does not depend on them."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from client.precision import PLAIN, Arithmetic, arithmetic_on
from client.session import Session
from common.config import Training
from common.errors import ConfigError, PrivacyError
from common.models.heads import loss_per_clip
from common.models.recurrent import GRU
from common.privacy.clipping import clipped_sum

SHORT = Arithmetic(torch.bfloat16)
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


class Twice(nn.Module):
    """Uses a weight once through its layer, and once past it where asked."""

    def __init__(self, *, past: bool) -> None:
        super().__init__()
        self.layer, self.past = nn.Linear(6, 6), past

    def forward(self, x, present_BM):
        hidden = self.layer(x["a"])
        return functional.linear(hidden, self.layer.weight) if self.past else hidden


def rows(count, scale=1.0):
    generator = torch.Generator().manual_seed(count)
    x_BI = scale * torch.randn(count, 6, generator=generator)
    y_BC = torch.eye(6)[torch.randint(0, 6, (count,), generator=generator)]
    return {"a": x_BI}, torch.ones(count, 1, dtype=torch.bool), y_BC


def summed(model, x, present_BM, y_BC, unit_B, arithmetic=SHORT, norm=0.2):
    units, forward = int(unit_B.max()) + 1, arithmetic.forward_of(model)
    given = x, present_BM, y_BC, unit_B, units, norm, 1, forward
    found = clipped_sum(model, loss_per_clip, *given)
    return torch.cat([value.double().flatten() for value in found.gradients.values()])


def test_clipped_sums_in_bfloat16_are_near_those_in_single_precision():
    model, given = Twice(past=False), (*rows(12), torch.arange(12) // 3)
    short, plain = summed(model, *given), summed(model, *given, PLAIN)
    assert 0 < float((short - plain).norm()) < 0.03 * float(plain.norm())


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_one_unit_moves_a_sum_in_bfloat16_by_no_more_than_the_norm(scale):
    x, present_BM, y_BC = rows(12, scale)
    model, unit_B = Twice(past=False), torch.arange(12) // 3
    whole = summed(model, x, present_BM, y_BC, unit_B)
    without = summed(model, {"a": x["a"][:9]}, present_BM[:9], y_BC[:9], unit_B[:9])
    assert float((whole - without).norm()) <= 0.2


def test_a_recurrent_layer_keeps_single_precision_inside_a_shorter_model():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.project, self.over_time, self.head = nn.Linear(6, 5), GRU(5, 4), nn.Linear(4, 6)

        def forward(self, x, present_BM):
            return self.head(self.over_time(self.project(x["a"]))[:, -1])

    x, present_BM, y_BC = rows(6)
    model, steps = Recurrent(), {"a": x["a"][:, None].repeat(1, 7, 1)}
    given = steps, present_BM, y_BC, torch.arange(6)
    short, plain = summed(model, *given), summed(model, *given, PLAIN)
    assert 0 < float((short - plain).norm()) < 0.03 * float(plain.norm())


def test_what_clipping_computes_is_in_single_precision_or_better():
    x, present_BM, y_BC = rows(4)
    model = Twice(past=False)
    given = x, present_BM, y_BC, torch.arange(4), 4, 0.2, 1, SHORT.forward_of(model)
    found = clipped_sum(model, loss_per_clip, *given)
    assert all(value.dtype.itemsize >= 4 for value in found.gradients.values())
    assert float(found.norms_U.min()) > 0


@pytest.mark.parametrize("arithmetic", [PLAIN, SHORT])
def test_a_weight_used_past_its_layer_is_still_seen(arithmetic):
    """A kept cast of the weight would look like one use."""
    with pytest.raises(PrivacyError, match="outside the layer's own forward"):
        summed(Twice(past=True), *rows(4), torch.arange(4), arithmetic)


def test_logits_come_back_in_single_precision_and_were_computed_in_less():
    model, (x, present_BM, _) = Twice(past=False), rows(5)
    plain, short = (one.forward_of(model)(x, present_BM) for one in (PLAIN, SHORT))
    assert short.dtype == torch.float32
    assert torch.equal(short, short.bfloat16().float())
    assert not torch.equal(plain, short)


def test_a_gpu_takes_what_the_study_asks_for_and_a_cpu_single_precision():
    asked = Training(precision="bfloat16", compile=True)
    assert arithmetic_on(asked, CUDA) == Arithmetic(torch.bfloat16, is_compiled=True)
    assert arithmetic_on(asked, CPU) == PLAIN
    assert arithmetic_on(Training(), CUDA) == PLAIN


def test_a_compiled_model_is_the_one_that_runs(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model: lambda x, present_BM: -model(x, present_BM))
    model, (x, present_BM, _) = Twice(past=False), rows(3)
    found = Arithmetic(is_compiled=True).forward_of(model)(x, present_BM)
    assert torch.equal(found, -model(x, present_BM))


@pytest.mark.parametrize("asked", [True, False])
def test_a_site_without_a_gpu_goes_on_and_says_so_in_its_own_log(tiny_study, tmp_path, asked):
    pairs = ("device=auto", "training.precision=bfloat16") if asked else ("device=cpu",)
    session = Session(SimpleNamespace(root=tmp_path), tiny_study(*pairs), None, (0, 0))  # type: ignore[arg-type]
    vars(session)["device"] = CPU
    assert session.arithmetic is PLAIN
    assert session.arithmetic is PLAIN
    lines = (tmp_path / "site.log").read_text().splitlines() if asked else []
    assert (tmp_path / "site.log").exists() is asked
    assert [json.loads(line)["event"] for line in lines] == ["trains in single precision"] * asked


@pytest.mark.parametrize("mode", ["local", "distributed"])
def test_a_compiled_model_is_refused_under_privacy(tiny_study, mode):
    with pytest.raises(ConfigError, match="cannot see into a compiled model"):
        tiny_study(f"privacy.mode={mode}", "training.compile=true")


def test_a_study_asks_for_a_known_precision(tiny_study):
    with pytest.raises(ConfigError, match="one of float32, bfloat16"):
        tiny_study("training.precision=float16")
