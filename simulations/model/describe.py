"""A study's model by branch: what each part reads, weighs, sends and costs; no data is read."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from common.budget import resolved
from common.config import Study
from common.inputs import front_end_of, input_shapes
from common.models.registry import Multimodal, build
from common.secagg.layout import Layout
from common.sums import parameters_of, train_layout
from common.targets import targets_of
from simulations.threads import one_thread

Inputs = tuple[Tensor, ...]
BATCH = 32
"""Clips in a timed pass."""
REPEATS = 5
WORD_BYTES = 8


@dataclass(frozen=True)
class Branch:
    """One part of a model.

    Args:
        name: the modality that an encoder reads, or the part's own name.
        kind: "encoder", "fusion" or "head".
        layer: the class that was built.
        front_end: of an encoder's modality; else empty.
        reads: the shape of what it reads for one clip; of a fusion (modalities, width).
        parameters: trained values.
        upload_bytes: what they take in the masked vector that a site sends in a round.
        multiply_adds: of one clip's forward pass, in products of linear layers, convolutions
            and attention.
        forward_ms: fastest of some passes of BATCH clips on one core; None where not measured.
        backward_ms: the same for the gradient.
    """

    name: str
    kind: str
    layer: str
    front_end: str
    reads: tuple[int, ...]
    parameters: int
    upload_bytes: int
    multiply_adds: int
    forward_ms: float | None
    backward_ms: float | None


@dataclass(frozen=True)
class Description:
    """A whole model.

    Args:
        study: its name.
        outputs: what it says of a clip.
        sites: sites of the sum that upload_bytes speaks about.
        branches: encoders in the order of their modalities, then fusion and head.
        download_bytes: the model as the coordinator sends it in a round.
        upload_bytes: the masked vector as a site sends it in a round; keys and shares besides.
    """

    study: str
    outputs: tuple[str, ...]
    sites: int
    branches: tuple[Branch, ...]
    download_bytes: int
    upload_bytes: int

    @property
    def parameters(self) -> int:
        """Trained values of all branches."""
        return sum(branch.parameters for branch in self.branches)

    @property
    def multiply_adds(self) -> int:
        """Products of one clip's forward pass."""
        return sum(branch.multiply_adds for branch in self.branches)


def describe(study: Study, sites: int, *, timed: bool = False) -> Description:
    """Describe a study's model.

    Args:
        study: whose settings decide everything; its noise multiplier may be open.
        sites: sites in the roster.
        timed: whether passes are timed on this machine.

    Raises:
        ConfigError: the study makes no network, or no noise meets its ε with so many sites.
    """
    study = resolved(study, sites, parameters_of(study))
    model, layout = build(study), train_layout(study, sites)
    read = _inputs_of(model, input_shapes(study))
    branches = tuple(
        _branch(study, path, part, read[path], layout, timed)
        for path, part in _parts(model).items()
    )
    state_bytes = sum(tensor.numel() * 4 for tensor in model.state_dict().values())
    return Description(
        study.name,
        (*study.classes, *targets_of(study).scales),
        sites,
        branches,
        state_bytes,
        WORD_BYTES * layout.words,
    )


def _parts(model: Multimodal) -> dict[str, nn.Module]:
    """Path -> part; the encoders one by one."""
    encoders = {f"encoders.{name}": part for name, part in model.encoders.items()}
    return encoders | {name: part for name, part in model.named_children() if name != "encoders"}


def _inputs_of(model: Multimodal, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Inputs]:
    """What each part is given when BATCH clips with every modality go through."""
    found: dict[str, Inputs] = {}
    hooks = [
        part.register_forward_pre_hook(lambda _, given, path=path: found.update({path: given}))
        for path, part in _parts(model).items()
    ]
    x = {name: torch.ones(BATCH, *shape) for name, shape in shapes.items()}
    model.eval()
    with torch.no_grad():
        model(x, torch.ones(BATCH, len(shapes), dtype=torch.bool))
    for hook in hooks:
        hook.remove()
    return found


def _branch(
    study: Study, path: str, part: nn.Module, given: Inputs, layout: Layout, timed: bool
) -> Branch:
    is_encoder = path.startswith("encoders.")
    name = path.removeprefix("encoders.")
    forward_ms, backward_ms = _times(part, given) if timed else (None, None)
    return Branch(
        name=name,
        kind="encoder" if is_encoder else name,
        layer=type(part).__name__,
        front_end=front_end_of(name, study.modalities[name]) if is_encoder else "",
        reads=tuple(given[0].shape[1:]),
        parameters=sum(p.numel() for p in part.parameters() if p.requires_grad),
        upload_bytes=_upload_bytes(layout, f"{path}."),
        multiply_adds=_multiply_adds(part, given),
        forward_ms=forward_ms,
        backward_ms=backward_ms,
    )


def _upload_bytes(layout: Layout, prefix: str) -> int:
    """Bytes of the words that hold a part's tensors; whole words that two parts share count up."""
    fields = sum(real.size for real in layout.reals if real.name.startswith(prefix))
    words = sum(prod(lane.shape) for lane in layout.exacts if lane.name.startswith(prefix))
    return WORD_BYTES * (-(-fields // layout.fields_a_word) + words)


def _multiply_adds(part: nn.Module, given: Inputs) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        part(*given)
    return int(counter.get_total_flops()) // (2 * BATCH)


def _times(part: nn.Module, given: Inputs) -> tuple[float, float]:
    """Milliseconds forward and backward, each the fastest of some passes."""
    inputs = [t.detach().requires_grad_(t.is_floating_point()) for t in given]
    with one_thread():
        passes = [_pass(part, inputs) for _ in range(REPEATS)]
    return min(forward for forward, _ in passes), min(backward for _, backward in passes)


def _pass(part: nn.Module, inputs: list[Tensor]) -> tuple[float, float]:
    started = time.perf_counter()
    out = part(*inputs)
    between = time.perf_counter()
    out.sum().backward()
    return 1e3 * (between - started), 1e3 * (time.perf_counter() - between)
