"""The clipped sum of a batch's gradients, by person or by record.

Two ways to the same sum: `clipped_sum` (single pass: one forward, one backward to the layers'
outputs, one weighted gradient) and `clipped_sum_by_hooks` (Opacus' per-sample gradients: slow,
kept as the oracle of the tests).

| case | what the sum holds |
|---|---|
| empty batch | zeros, without running the model |
| a unit without rows | nothing |
| a unit with a row that is not finite | nothing, for the whole unit |
| a modality missing in some rows or in all | what autograd says: zeros for its branch |
| a parameter that the loss does not reach | zeros |
| a frozen parameter | no entry |
| a layer without a rule | refused by name |
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn

from common.errors import PrivacyError
from common.privacy.clip_units import clip_factors, clip_units
from common.privacy.factored import Units
from common.privacy.single_pass import layer_gradients

LossPerSample = Callable[[Tensor, Tensor], Tensor]
Forward = Callable[[dict[str, Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class ClippedSum:
    """The sum over units of clipped gradients.

    Args:
        gradients: by parameter name as in `model.named_parameters()`; trainable ones only; in
            single precision where that is known to be enough, else in double. Add sums of
            several passes in double precision.
        norms_U: norm of each unit's gradient before clipping; 0 where it counts as zero.
            Private: it never leaves the site.
    """

    gradients: dict[str, Tensor]
    norms_U: Tensor


@dataclass(frozen=True)
class Batch:
    """The rows of one step.

    Args:
        x: tensors of B rows by modality.
        present_BM: which modalities a row has.
        y_BC: labels.
        unit_B: to which unit, 0 to num_units - 1, each row belongs.
        num_units: number of units in the batch.
    """

    x: dict[str, Tensor]
    present_BM: Tensor
    y_BC: Tensor
    unit_B: Tensor
    num_units: int

    def kept(self, keep_B: Tensor) -> "Batch":
        """Return the batch with some rows only; units keep their numbers."""
        x = {name: tensor[keep_B] for name, tensor in self.x.items()}
        rows = self.present_BM[keep_B], self.y_BC[keep_B], self.unit_B[keep_B]
        return Batch(x, *rows, self.num_units)


def clipped_sum(
    model: nn.Module,
    loss_per_sample: LossPerSample,
    x: dict[str, Tensor],
    present_BM: Tensor,
    y_BC: Tensor,
    unit_B: Tensor,
    num_units: int,
    max_grad_norm: float,
    passes: int = 1,
    forward: Forward | None = None,
) -> ClippedSum:
    """Return the sum over units of the mean gradient of a unit's rows, clipped to max_grad_norm.

    Args:
        model: `forward(x, present_BM) -> logits_BC`, no layer of which mixes rows.
        loss_per_sample: `(logits_BC, y_BC) -> loss_B`.
        x: tensors of B rows by modality.
        present_BM: which modalities a row has.
        y_BC: labels.
        unit_B: to which unit, 0 to num_units - 1, each row belongs.
        num_units: number of units in the batch.
        max_grad_norm: C > 0.
        passes: how many calls, of which this is one, give one step's sum together.
        forward: runs the model, where not the model itself does: in a shorter type, say. What the
            layers saw is taken to single precision before anything is computed from it.

    Raises:
        PrivacyError: a layer has no rule, is used in a way that the rules cannot see, or the
            arguments do not fit each other.

    Guarantees: adding or removing all rows of one unit moves the sum by at most max_grad_norm
    in L2 norm, whatever finite weights the model has, up to 2^26 units × positions of a call
    (docs/privacy.md, Guarantee 1). No state is kept between calls, in the model or elsewhere.
    Source: Bu, Wang, Zha, Karypis, "Differentially Private Optimization on Large Model at
    Small Cost", ICML 2023 (book-keeping).
    """
    batch = _checked(Batch(x, present_BM, y_BC, unit_B, num_units), max_grad_norm)
    run = model if forward is None else forward
    return _single_pass(model, run, loss_per_sample, batch, max_grad_norm, passes)


def _single_pass(
    model: nn.Module,
    run: Forward,
    loss_per_sample: LossPerSample,
    batch: Batch,
    max_grad_norm: float,
    passes: int,
) -> ClippedSum:
    if len(batch.unit_B) == 0:
        return _nothing(model, batch)
    units = Units.of(batch.unit_B, batch.num_units)

    def weighted_loss() -> Tensor:
        logits_BC = run(batch.x, batch.present_BM)
        return (loss_per_sample(logits_BC, batch.y_BC) * units.share_B).sum()

    layers = layer_gradients(model, weighted_loss, units)
    found = clip_units(layers, units, max_grad_norm, passes)
    if found.finite_U is not None:
        finite = batch.kept(found.finite_U[batch.unit_B])
        return _single_pass(model, run, loss_per_sample, finite, max_grad_norm, passes)
    return ClippedSum(_complete(model, found.gradients), found.norms_U.to(torch.float32))


def clipped_sum_by_hooks(
    model: nn.Module,
    loss_per_sample: LossPerSample,
    x: dict[str, Tensor],
    present_BM: Tensor,
    y_BC: Tensor,
    unit_B: Tensor,
    num_units: int,
    max_grad_norm: float,
) -> ClippedSum:
    """Return what `clipped_sum` returns, through Opacus' per-sample gradients.

    Guarantees: no hook and no attribute of Opacus stays on the model.
    """
    batch = _checked(Batch(x, present_BM, y_BC, unit_B, num_units), max_grad_norm)
    if len(unit_B) == 0:
        return _nothing(model, batch)
    units = Units.of(unit_B, num_units)
    per_sample = _opacus_gradients(model, loss_per_sample, batch, units)
    by_unit = {name: units.summed(tensor) for name, tensor in per_sample.items()}
    flat_UP = torch.cat([tensor.reshape(num_units, -1) for tensor in by_unit.values()], dim=1)
    norms_U = flat_UP.double().norm(dim=1)
    norms_U = torch.where(torch.isfinite(norms_U), norms_U, 0.0)
    factors_U = clip_factors(norms_U, max_grad_norm)
    gradients = {}
    for name, tensor in by_unit.items():
        finite = torch.nan_to_num(tensor, nan=0.0, posinf=0.0, neginf=0.0)
        is_used = (norms_U > 0).reshape(-1, *[1] * (tensor.dim() - 1))
        kept = torch.where(is_used, finite, 0.0)
        gradients[name] = torch.einsum("u...,u->...", kept.double(), factors_U)
    return ClippedSum(_complete(model, gradients), norms_U.to(torch.float32))


def _opacus_gradients(
    model: nn.Module, loss_per_sample: LossPerSample, batch: Batch, units: Units
) -> dict[str, Tensor]:
    was_training = model.training
    wrapped = GradSampleModule(model, loss_reduction="sum")
    try:
        wrapped.train()
        logits_BC = wrapped(batch.x, batch.present_BM)
        (loss_per_sample(logits_BC, batch.y_BC) * units.share_B).sum().backward()
        named = model.named_parameters()
        found = {name: getattr(parameter, "grad_sample", None) for name, parameter in named}
    finally:
        wrapped.to_standard_module()
        for layer in model.modules():
            vars(layer).pop("activations", None)
        model.zero_grad(set_to_none=True)
        model.train(was_training)
    return {name: tensor.detach() for name, tensor in found.items() if tensor is not None}


def _complete(model: nn.Module, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a gradient for every trainable parameter, in the model's order; zeros by default."""
    return {
        name: gradients[name] if name in gradients else torch.zeros_like(parameter).detach()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def _nothing(model: nn.Module, batch: Batch) -> ClippedSum:
    return ClippedSum(_complete(model, {}), torch.zeros(batch.num_units))


def _checked(batch: Batch, max_grad_norm: float) -> Batch:
    rows = len(batch.unit_B)
    lengths = {name: len(tensor) for name, tensor in batch.x.items()}
    lengths |= {"present_BM": len(batch.present_BM), "y_BC": len(batch.y_BC)}
    if any(length != rows for length in lengths.values()):
        raise PrivacyError(f"clipping: expected {rows} rows everywhere, found {lengths}")
    if not max_grad_norm > 0:
        raise PrivacyError(f"clipping: max_grad_norm must be above 0, found {max_grad_norm}")
    if rows and not 0 <= int(batch.unit_B.min()) <= int(batch.unit_B.max()) < batch.num_units:
        raise PrivacyError(f"clipping: units must be numbered 0 to {batch.num_units - 1}")
    return batch
