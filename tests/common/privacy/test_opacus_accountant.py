import pytest
import torch
from opacus import PrivacyEngine
from opacus.accountants import create_accountant
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from common.privacy import accountant, opacus_accountant
from common.privacy.events import PoissonSampledGaussian


@pytest.fixture
def name():
    return opacus_accountant.register()


def test_opacus_creates_it_by_name(name):
    found = create_accountant(name)
    assert isinstance(found, opacus_accountant.PldAccountant)
    assert found.mechanism() == name == "tacit_pld"
    assert opacus_accountant.register() == name


def test_it_answers_with_the_authoritative_epsilon(name):
    found = create_accountant(name)
    assert found.get_epsilon(1e-5) == 0
    for _ in range(30):
        found.step(noise_multiplier=1.2, sample_rate=0.1)
    found.step(noise_multiplier=2.0, sample_rate=0.1)
    assert found.history == [(1.2, 0.1, 30), (2.0, 0.1, 1)]
    assert len(found) == 31
    history = [
        PoissonSampledGaussian(0.1, 1.2, 30, "record"),
        PoissonSampledGaussian(0.1, 2.0, 1, "record"),
    ]
    assert found.get_epsilon(1e-5) == accountant.epsilon(history, 1e-5, "record")


def test_its_state_survives_a_checkpoint(name):
    found, again = create_accountant(name), create_accountant(name)
    found.step(noise_multiplier=1.2, sample_rate=0.1)
    again.load_state_dict(found.state_dict())
    assert again.get_epsilon(1e-5) == found.get_epsilon(1e-5)


@pytest.mark.filterwarnings("ignore")
def test_an_opacus_engine_reports_our_epsilon(name):
    engine = PrivacyEngine(accountant=name)
    model = nn.Linear(3, 2)
    loader = DataLoader(TensorDataset(torch.randn(40, 3), torch.randint(0, 2, (40,))), batch_size=8)
    model, optimizer, loader = engine.make_private(
        module=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        data_loader=loader,
        noise_multiplier=1.5,
        max_grad_norm=1.0,
    )
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    history = [PoissonSampledGaussian(0.2, 1.5, len(loader), "record")]
    expected = accountant.epsilon(history, 1e-3, "record")
    assert engine.get_epsilon(1e-3) == pytest.approx(expected)
