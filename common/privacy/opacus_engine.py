"""Single-pass clipping and cryptographic noise behind Opacus' PrivacyEngine.

    engine = SinglePassEngine(os.urandom)
    model, optimizer, criterion, loader = engine.make_private(
        module=model, optimizer=optimizer, criterion=criterion, data_loader=loader,
        noise_multiplier=1.0, max_grad_norm=1.0)

The loop is Opacus' own for ghost clipping. Everything after `p.grad` is Opacus' too: the
accumulation, the scaling by the expected batch size, the accountant's hook. Units are records.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from opacus import PrivacyEngine
from opacus.data_loader import wrap_collate_with_empty
from opacus.grad_sample import AbstractGradSampleModule
from opacus.optimizers import DPOptimizerFastGradientClipping
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from common.errors import PrivacyError
from common.privacy import opacus_accountant
from common.privacy.clip_units import clip_units
from common.privacy.factored import Units
from common.privacy.mechanism import KEY_BYTES, CryptoStream, add_noise
from common.privacy.single_pass import Capture, captured, gradients_of, trainable_layers

Entropy = Callable[[int], bytes]


class SinglePassModule(AbstractGradSampleModule):  # type: ignore[misc]
    """A model that keeps, for one backward pass, what its layers saw.

    Raises:
        PrivacyError: a layer has no rule.
    """

    def __init__(
        self,
        m: nn.Module,
        *,
        batch_first: bool = True,
        loss_reduction: str = "mean",
        max_grad_norm: float = 1.0,
    ) -> None:
        if not batch_first:
            raise PrivacyError("single-pass clipping: the batch must be the first dimension")
        super().__init__(m, batch_first=batch_first, loss_reduction=loss_reduction)
        self.max_grad_norm = max_grad_norm
        self._layers = trainable_layers(m)
        self._captures: dict[str, Capture] | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model; a second forward forgets the first."""
        self._captures = None
        if not (self.training and torch.is_grad_enabled()):
            return self._module(*args, **kwargs)
        with captured(self._layers) as captures:
            output = self._module(*args, **kwargs)
        self._captures = captures
        return output

    def backward(self, loss_B: Tensor) -> None:
        """Put the sum of clipped gradients where the optimizer looks for it.

        Raises:
            PrivacyError: there was no forward pass in training mode since the last backward.
        """
        captures, self._captures = self._captures, None
        if captures is None:
            raise PrivacyError("single-pass clipping: expected one forward before each backward")
        rows = len(loss_B)
        found = self._clipped(loss_B, captures) if rows else {}
        for name, parameter in self._module.named_parameters():
            if parameter.requires_grad:
                parameter.grad = found.get(name, torch.zeros_like(parameter)).detach()

    def _clipped(self, loss_B: Tensor, captures: dict[str, Capture]) -> dict[str, Tensor]:
        rows = len(loss_B)
        units = Units.of(torch.arange(rows, device=loss_B.device), rows)
        layers = gradients_of(loss_B.sum(), captures, units)
        clipped = clip_units(layers, units, self.max_grad_norm)
        if clipped.finite_U is not None:
            raise PrivacyError(
                "single-pass clipping: a record's gradient is not finite; leave that record out"
            )
        return {name: gradient.float() for name, gradient in clipped.gradients.items()}

    def remove_hooks(self) -> None:
        """Forget the last forward; there are no hooks between forwards."""
        self._captures = None


class SinglePassLoss:
    """One batch's losses; `backward` clips."""

    def __init__(self, module: SinglePassModule, loss_B: Tensor) -> None:
        self._module = module
        self.loss_B = loss_B

    def item(self) -> float:
        """Return the mean loss. It is not private."""
        return float(self.loss_B.detach().mean())

    def backward(self) -> None:
        """Put the sum of clipped gradients into the parameters' `grad`."""
        self._module.backward(self.loss_B)


class SinglePassCriterion:
    """A torch criterion with one value for each record."""

    def __init__(self, module: SinglePassModule, criterion: nn.Module) -> None:
        self._module = module
        self._criterion: Any = criterion

    def __call__(self, *args: Any, **kwargs: Any) -> SinglePassLoss:
        """Compute each record's loss; what lies beyond the batch dimension is averaged."""
        reduction = self._criterion.reduction
        self._criterion.reduction = "none"
        try:
            loss = self._criterion(*args, **kwargs)
        finally:
            self._criterion.reduction = reduction
        loss_B = loss.flatten(1).mean(1) if loss.dim() > 1 else loss
        return SinglePassLoss(self._module, loss_B)


class CryptoOptimizer(DPOptimizerFastGradientClipping):  # type: ignore[misc]
    """Opacus' optimizer with noise from a cryptographic stream."""

    def __init__(self, *args: Any, stream: CryptoStream, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stream = stream

    def add_noise(self) -> None:
        """Add noise to the sums of clipped gradients, on the grid; a sum is used once only."""
        sums = {str(place): parameter.summed_grad for place, parameter in enumerate(self.params)}
        if any(getattr(total, "_processed", False) for total in sums.values()):
            raise PrivacyError("call optimizer.zero_grad() before each step: a sum was used twice")
        noised = add_noise(
            self._stream,
            sums,
            noise_multiplier=self.noise_multiplier,
            max_grad_norm=self.max_grad_norm,
        )
        for place, parameter in enumerate(self.params):
            parameter.grad = noised[str(place)].view_as(parameter)
            parameter.summed_grad._processed = True


class PoissonSampler(Sampler[list[int]]):
    """Batches that each record joins by itself with a fixed probability."""

    def __init__(self, size: int, rate: float, steps: int, stream: CryptoStream) -> None:
        self._size, self._rate, self._steps, self._stream = size, rate, steps, stream

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self._steps):
            yield self._stream.poisson_mask(self._size, self._rate).nonzero()[0].tolist()


class SinglePassEngine(PrivacyEngine):  # type: ignore[misc]
    """Opacus' engine with single-pass clipping, AES noise and sampling, and our accountant.

    Args:
        entropy: where keys come from: the operating system.
    """

    def __init__(self, entropy: Entropy) -> None:
        super().__init__(accountant=opacus_accountant.register())
        self._entropy = entropy

    def make_private(self, **kwargs: Any) -> tuple[Any, ...]:
        """Return (module, optimizer, criterion, loader) as Opacus does for ghost clipping.

        Raises:
            PrivacyError: flat clipping by Poisson-sampled records is not what was asked for.
        """
        wanted = {"poisson_sampling": True, "clipping": "flat", "wrap_model": True}
        if any(kwargs.get(name, value) != value for name, value in wanted.items()):
            raise PrivacyError("single-pass clipping: expected flat clipping and Poisson sampling")
        kwargs.setdefault("criterion", nn.CrossEntropyLoss())
        found: tuple[Any, ...] = super().make_private(**{**kwargs, "grad_sample_mode": "ghost"})
        return found

    def _stream(self) -> CryptoStream:
        return CryptoStream(self._entropy(KEY_BYTES))

    def _prepare_model(
        self, module: nn.Module, *, max_grad_norm: float, loss_reduction: str, **_: Any
    ) -> SinglePassModule:
        self.validate(module=module, optimizer=None, data_loader=None)
        return SinglePassModule(module, loss_reduction=loss_reduction, max_grad_norm=max_grad_norm)

    def _prepare_optimizer(self, *, optimizer: torch.optim.Optimizer, **kwargs: Any) -> Any:
        names = ("noise_multiplier", "max_grad_norm", "expected_batch_size", "loss_reduction")
        chosen = {name: kwargs[name] for name in names}
        return CryptoOptimizer(optimizer, stream=self._stream(), **chosen)

    def _prepare_criterion(
        self, *, module: SinglePassModule, criterion: nn.Module, **_: Any
    ) -> SinglePassCriterion:
        return SinglePassCriterion(module, criterion)

    def _prepare_data_loader(self, data_loader: DataLoader[Any], **_: Any) -> DataLoader[Any]:
        records: Any = data_loader.dataset
        size, steps = len(records), len(data_loader)
        return DataLoader(
            records,
            batch_sampler=PoissonSampler(size, 1 / steps, steps, self._stream()),
            collate_fn=_collate(data_loader, records),
        )


def _collate(data_loader: DataLoader[Any], records: Any) -> Callable[[list[Any]], Any]:
    """Return the loader's own collation, which also makes empty batches of the right shape."""
    collate: Callable[[list[Any]], Any] = wrap_collate_with_empty(collate_fn=data_loader.collate_fn)
    collate([records[0]])
    return collate
