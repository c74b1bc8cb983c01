"""One forward, one backward to the layers' outputs: what each layer needs for its gradient.

Weight gradients are never formed on the way: autograd is asked for the gradients of the
layers' outputs only. Every trainable parameter must belong to a layer with a rule, and must
be used through that layer's forward: both are checked, the second on the graph itself.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

from common.errors import PrivacyError
from common.privacy.factored import Units
from common.privacy.layer_rules import RULES, Call, LayerGradient, Moments


@dataclass
class Capture:
    """What passed through one layer in one forward: an input and an output for each call.

    Of an output, only its place in the graph is kept, not its values: they are freed as soon as
    in a step without privacy. What changes an output in place comes after that place.
    """

    layer: nn.Module
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[GradientEdge] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)

    def __call__(self, _layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep a call's input and the place of its output (a forward hook)."""
        self.inputs.append(inputs[0])
        self.outputs.append(get_gradient_edge(output))
        self.versions.append(inputs[0]._version)

    def moments(self) -> list[Moments | None]:
        """Return what each call kept for its own backward pass, if its layer takes moments."""
        return [_moments(output.node) for output in self.outputs]


def layer_gradients(
    model: nn.Module, loss: Callable[[], Tensor], units: Units
) -> dict[str, LayerGradient]:
    """Run the model once and return, by layer name, the units' gradients in their short form.

    Args:
        model: every trainable parameter of which belongs to a layer in RULES.
        loss: runs the model and returns the sum over rows of the weighted loss.
        units: which rows belong together.

    Raises:
        PrivacyError: a layer has no rule, or is used in a way that the rules cannot see.
    """
    layers = trainable_layers(model)
    with torch.enable_grad(), captured(layers) as captures:
        total = loss()
    return gradients_of(total, captures, units)


def gradients_of(
    total: Tensor, captures: dict[str, Capture], units: Units
) -> dict[str, LayerGradient]:
    """Return, by layer name, the units' gradients of a loss whose forward was captured.

    Args:
        total: the sum over rows of the weighted loss; its graph is used up.
        captures: what `captured` saw while the model ran.
        units: which rows belong together.

    Raises:
        PrivacyError: a layer is used in a way that the rules cannot see.
    """
    _check_uses(total, captures)
    outputs = [output for capture in captures.values() for output in capture.outputs]
    moments = {name: capture.moments() for name, capture in captures.items()}
    backprops = iter(torch.autograd.grad(total, outputs, allow_unused=True))
    found = {}
    for name, capture in captures.items():
        seen = zip(capture.inputs, _take(backprops, capture), moments[name], strict=True)
        calls = [
            Call(_single(inputs), _single(backprop), kept)
            for inputs, backprop, kept in seen
            if backprop is not None
        ]
        _check_rows(name, calls, len(units.unit_B))
        if calls:
            found[name] = RULES[type(capture.layer)](capture.layer, calls, units)
    return found


def _check_rows(name: str, calls: list[Call], rows: int) -> None:
    """Refuse a layer that sees the batch in other pieces: each would be clipped by itself."""
    for call in calls:
        seen = len(call.input), len(call.backprop)
        if seen != (rows, rows):
            raise PrivacyError(
                f"clipping: expected {rows} rows at {name!r}, one for each of the batch, found "
                f"{seen[0]} going in and {seen[1]} coming out; keep the batch as the first "
                "dimension (time after it), and expand nothing over it behind the layer"
            )


def _moments(node: Node) -> Moments | None:
    """Return a GroupNorm's moments in single precision; read them before its backward pass."""
    if node.name() != "NativeGroupNormBackward0":
        return None
    kept: Any = node
    moments = kept._saved_result1.detach(), kept._saved_result2.detach()
    return moments if moments[0].dtype == torch.float32 else None


def _single(tensor: Tensor) -> Tensor:
    """Return what a layer saw, taken to single precision where it is shorter."""
    is_short = tensor.is_floating_point() and tensor.dtype.itemsize < torch.float32.itemsize
    return tensor.detach().float() if is_short else tensor.detach()


def trainable_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that own trainable parameters, by name.

    Raises:
        PrivacyError: one of them has no rule, holds a buffer, or shares a parameter.
    """
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if any(parameter.requires_grad for parameter in _own(layer).values())
    }
    owners: dict[int, str] = {}
    for name, layer in layers.items():
        _check_rule(name or type(model).__name__, layer)
        for parameter in _own(layer).values():
            owner = owners.setdefault(id(parameter), name)
            if owner != name:
                raise PrivacyError(f"clipping: {owner} and {name} share a parameter; untie them")
    return layers


def _own(layer: nn.Module) -> dict[str, nn.Parameter]:
    """Return a layer's own parameters: as `named_parameters(recurse=False)`, in less time."""
    return {name: own for name, own in layer._parameters.items() if own is not None}


def _check_rule(name: str, layer: nn.Module) -> None:
    if type(layer) not in RULES:
        known = ", ".join(sorted(rule.__name__ for rule in RULES))
        raise PrivacyError(
            f"clipping: layer {name!r} ({type(layer).__name__}) has no rule for its gradient; "
            f"build it from {known}"
        )
    if any(buffer is not None for buffer in layer._buffers.values()):
        raise PrivacyError(f"clipping: layer {name!r} keeps buffers, which would not be private")


@contextmanager
def captured(layers: dict[str, nn.Module]) -> Iterator[dict[str, Capture]]:
    """Keep what passes through the layers while the block runs a model; no hook stays."""
    captures = {name: Capture(layer) for name, layer in layers.items()}
    handles = [layer.register_forward_hook(captures[name]) for name, layer in layers.items()]
    try:
        yield captures
    finally:
        for handle in handles:
            handle.remove()


def _take(backprops: Iterator[Tensor | None], capture: Capture) -> list[Tensor | None]:
    return [next(backprops) for _ in capture.outputs]


def _check_uses(total: Tensor, captures: dict[str, Capture]) -> None:
    """Refuse what forward hooks miss: a parameter used outside its layer, a change in place."""
    uses = _parameter_uses(total)
    for name, capture in captures.items():
        if any(t._version != v for t, v in zip(capture.inputs, capture.versions, strict=True)):
            raise PrivacyError(f"clipping: an input of {name!r} is changed in place")
        for own, parameter in _own(capture.layer).items():
            if uses[id(parameter)] > len(capture.outputs):
                raise PrivacyError(
                    f"clipping: {name}.{own} is used outside the layer's own forward; "
                    "its gradient there would escape clipping"
                )


def _parameter_uses(total: Tensor) -> Counter[int]:
    """Count, by id of the parameter, the edges that lead to it in the graph of `total`."""
    uses: Counter[int] = Counter()
    seen, waiting = set(), [total.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for following, _ in node.next_functions:
            variable = getattr(following, "variable", None)
            if variable is None:
                waiting.append(following)
            else:
                uses[id(variable)] += 1
    return uses
