"""One training step of each side: without privacy, ours by record and by person, Opacus' two."""

import os
import warnings
from collections.abc import Callable

import torch
from opacus import PrivacyEngine
from opacus.layers import DPGRU
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from common.models.encoders import GruEncoder
from common.models.heads import loss_per_clip
from common.privacy.clipping import clipped_sum
from common.privacy.mechanism import CryptoStream, add_noise
from simulations.bench.dp_models import Benchmark, Rows

Step = Callable[[], None]
LEARNING_RATE = 0.01
CLIPS_PER_PERSON = 4


def _model(
    benchmark: Benchmark, rows: Rows, change: Callable[[nn.Module], None] | None = None
) -> tuple[nn.Module, torch.optim.Optimizer]:
    with torch.random.fork_rng(devices=[]):
        model = benchmark.build()
        if change is not None:
            change(model)
    model = model.to(rows.present_BM.device).train()
    return model, torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)


def plain(benchmark: Benchmark, rows: Rows) -> Step:
    """A step without privacy."""
    model, optimizer = _model(benchmark, rows)

    def step() -> None:
        optimizer.zero_grad()
        loss_per_clip(model(rows.x, rows.present_BM), rows.y_BC).mean().backward()
        optimizer.step()

    return step


def private(benchmark: Benchmark, rows: Rows, unit_B: Tensor | None = None) -> Step:
    """Our step: single-pass clipping, cryptographic noise; by record unless units are given."""
    model, optimizer = _model(benchmark, rows)
    batch = len(rows.y_BC)
    unit_B = torch.arange(batch, device=rows.y_BC.device) if unit_B is None else unit_B
    units, stream = int(unit_B.max()) + 1, CryptoStream(os.urandom(32))

    def step() -> None:
        optimizer.zero_grad()
        summed = clipped_sum(
            model, loss_per_clip, rows.x, rows.present_BM, rows.y_BC, unit_B, units, 1.0
        )
        noisy = add_noise(
            stream, summed.gradients, noise_multiplier=1.0, max_grad_norm=1.0, divisor=units
        )
        for name, parameter in model.named_parameters():
            parameter.grad = noisy[name]
        optimizer.step()

    return step


def by_person(benchmark: Benchmark, rows: Rows) -> Step:
    """Our step by person, over the same clips."""
    batch, device = len(rows.y_BC), rows.y_BC.device
    return private(benchmark, rows, torch.arange(batch, device=device) // CLIPS_PER_PERSON)


class OpacusGRU(nn.Module):
    """Opacus' own recurrent layer in the place of ours: it has no rule for torch's."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layer = DPGRU(hidden, hidden, batch_first=True)

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Return the states (B, T, H)."""
        return self.layer(x_BTF)[0]  # type: ignore[no-any-return]


def _for_opacus(model: nn.Module) -> None:
    for encoder in [part for part in model.modules() if isinstance(part, GruEncoder)]:
        encoder.recurrent = OpacusGRU(encoder.project.in_features)  # type: ignore[assignment]


def opacus(mode: str) -> Callable[[Benchmark, Rows], Step]:
    """Opacus' step in one of its modes ("hooks" or "ghost"), noise from torch."""

    def prepared(benchmark: Benchmark, rows: Rows) -> Step:
        model, optimizer = _model(benchmark, rows, _for_opacus)
        batch = len(rows.y_BC)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = PrivacyEngine().make_private(
                module=model,
                optimizer=optimizer,
                criterion=nn.CrossEntropyLoss(),
                data_loader=DataLoader(TensorDataset(torch.zeros(batch)), batch_size=batch),
                noise_multiplier=1.0,
                max_grad_norm=1.0,
                poisson_sampling=False,
                grad_sample_mode=mode,
            )
        wrapped, wrapped_optimizer, *criterion, _ = made
        loss = criterion[0] if criterion else nn.CrossEntropyLoss()

        def step() -> None:
            wrapped_optimizer.zero_grad()
            loss(wrapped(rows.x, rows.present_BM), rows.y_BC).backward()
            wrapped_optimizer.step()

        return step

    return prepared


SIDES: dict[str, Callable[[Benchmark, Rows], Step]] = {
    "plain": plain,
    "record": private,
    "person": by_person,
    "hooks": opacus("hooks"),
    "ghost": opacus("ghost"),
}
