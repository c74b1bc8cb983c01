import os

import pytest
import torch
from opacus import PrivacyEngine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from common.errors import PrivacyError
from common.privacy import accountant
from common.privacy.clip_units import ROUNDING
from common.privacy.events import PoissonSampledGaussian
from common.privacy.opacus_engine import PoissonSampler, SinglePassEngine, SinglePassModule

pytestmark = pytest.mark.filterwarnings("ignore")


def model_of():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(4 * 6, 3))


def loader_of(rows=40, batch=10):
    torch.manual_seed(1)
    return DataLoader(
        TensorDataset(torch.randn(rows, 2, 8), torch.randint(0, 3, (rows,))), batch_size=batch
    )


def private(engine=None, model=None, *, rows=40, batch=10, sigma=1.0, **kwargs):
    model = model or model_of()
    return (engine or SinglePassEngine(os.urandom)).make_private(
        module=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        criterion=nn.CrossEntropyLoss(),
        data_loader=loader_of(rows, batch),
        noise_multiplier=sigma,
        max_grad_norm=0.3,
        **kwargs,
    )


def epoch(model, optimizer, criterion, loader):
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()


def test_opacus_own_loop_trains_and_reports_our_epsilon():
    engine = SinglePassEngine(os.urandom)
    model, optimizer, criterion, loader = private(engine)
    before = [parameter.clone() for parameter in model.parameters()]
    epoch(model, optimizer, criterion, loader)
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    event = PoissonSampledGaussian(0.25, 1.0, 4, "record")
    expected = accountant.epsilon([event], 1e-3, "record")
    assert engine.get_epsilon(1e-3) == pytest.approx(expected)


def test_the_clipped_sum_is_that_of_opacus_ghost_clipping():
    ours, ghost = model_of(), model_of()
    x, y = loader_of().dataset.tensors
    model, _, criterion, _ = private(model=ours)
    criterion(model(x), y).backward()
    theirs, _, their_criterion, _ = private(
        PrivacyEngine(accountant="rdp"), ghost, grad_sample_mode="ghost"
    )
    their_criterion(theirs(x), y).backward()
    for a, b in zip(ours.parameters(), ghost.parameters(), strict=True):
        assert torch.allclose(a.grad, (1 - ROUNDING) * b.grad, rtol=2e-5, atol=1e-6)


def test_an_empty_batch_is_a_step_of_noise():
    model, optimizer, criterion, loader = private(rows=3, batch=1)
    x, y = loader.collate_fn([])
    assert len(x) == 0
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    before = [parameter.clone() for parameter in model.parameters()]
    optimizer.step()
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_noise_does_not_follow_torchs_seed():
    updates = []
    for _ in range(2):
        model, optimizer, criterion, loader = private()
        torch.manual_seed(3)
        x, y = loader.collate_fn([])
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
        updates.append(torch.cat([p.flatten() for p in model.parameters()]).detach())
    assert not torch.equal(*updates)


def test_noise_is_scaled_as_opacus_scales_it():
    """σC on the sum, over the expected batch size."""
    model, optimizer, criterion, loader = private(
        model=nn.Sequential(nn.Flatten(), nn.Linear(16, 3000))
    )
    x, y = loader.collate_fn([])
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
    noise = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert float(noise.std()) == pytest.approx(1.0 * 0.3 / 10, rel=0.02)


def test_a_sum_is_used_once():
    model, optimizer, criterion, _ = private()
    x, y = loader_of().dataset.tensors
    criterion(model(x), y).backward()
    optimizer.step()
    with pytest.raises(PrivacyError, match="zero_grad"):
        optimizer.add_noise()
    with pytest.raises(PrivacyError, match="one forward before each backward"):
        model.backward(torch.zeros(1))


def test_a_layer_without_a_rule_is_refused_by_name():
    with pytest.raises(PrivacyError, match=r"'0' .PReLU. has no rule"):
        SinglePassModule(nn.Sequential(nn.PReLU(), nn.Linear(3, 3)))


@pytest.mark.parametrize("asked", [{"poisson_sampling": False}, {"clipping": "per_layer"}])
def test_what_would_break_the_account_is_refused(asked):
    with pytest.raises(PrivacyError, match="expected flat clipping"):
        private(**asked)


def test_a_model_goes_back_to_what_it_was():
    model, *_ = private()
    plain = model.to_standard_module()
    assert list(plain.state_dict()) == list(model_of().state_dict())
    assert all(not hasattr(p, "grad_sample") for p in plain.parameters())


def test_evaluation_keeps_nothing():
    model, *_ = private()
    x, _ = loader_of().dataset.tensors
    model.eval()
    model(x)
    assert model._captures is None


def test_batches_are_drawn_by_poisson_sampling():
    from common.privacy.mechanism import CryptoStream

    sampler = PoissonSampler(1000, 0.1, 50, CryptoStream(bytes(32)))
    sizes = [len(batch) for batch in sampler]
    assert len(sizes) == len(sampler) == 50
    assert 90 < sum(sizes) / 50 < 110
    assert len(set(sizes)) > 10
