"""Synthetic persons for an audit: ordinary ones, and canaries that each pull their own way.

No recording is read: the inputs are random numbers of the shapes that the study's model takes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from client.data.arrays import SiteData
from common.config import Study
from common.errors import ConfigError
from common.inputs import input_shapes
from common.models.heads import loss_per_clip
from common.targets import Targets, targets_of

CANARIES = 8
ORDINARY = 3
LOUDNESS = 10.0
"""Size of a canary's inputs."""
QUIETNESS = 0.3
"""Size of an ordinary person's inputs."""
FAR_ABOVE = 20.0
"""A canary's raw gradient is at least so many clipping norms long."""
OF_ITS_OWN = 0.9
"""Least share of a canary's gradient that no other canary's direction holds."""
_TRIES = 128

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class People:
    """Who may be at the audited site.

    Args:
        data: clips of ordinary persons and canaries, in turn: so a canary stands where an ordinary
            person stood in the step before, and what was kept of that person does not fit it.
        seat_M: which of the persons are canaries.
        basis_KP: orthonormal directions of gradients; the canaries' own first.
        pull_MK: the canaries' gradients, of length 1, along these directions.
        raw_norm: length of the shortest raw gradient of a canary.
    """

    data: SiteData
    seat_M: NDArray[np.int64]
    basis_KP: Matrix
    pull_MK: Matrix
    raw_norm: float

    @property
    def canaries(self) -> int:
        """How many canaries there are."""
        return len(self.seat_M)

    def with_canaries(self, joins_M: NDArray[np.bool_], ordinary: bool = True) -> SiteData:
        """Return the clips of the chosen canaries, and of the ordinary persons unless not."""
        is_there = np.full(len(self.data.person_ids), ordinary)
        is_there[self.seat_M] = joins_M
        return self.data.take(is_there[self.data.person_N])

    def nobody(self) -> SiteData:
        """Return no clips at all."""
        return self.data.take(np.zeros(0, dtype=np.int64))


def people_for(study: Study, model: torch.nn.Module, draw: np.random.Generator) -> People:
    """Make persons for a study's model; one clip each where the unit is the record.

    Args:
        study: gives shapes, classes and unit.
        model: what gradients are taken of; left as it was.
        draw: where inputs come from.

    Raises:
        ConfigError: the model has too few parameters to tell canaries apart.
    """
    clips = 1 if study.privacy.unit == "record" else 2
    canaries, directions = _canaries(study, model, clips, draw)
    ordinary = [_person(study, clips, QUIETNESS, draw) for _ in range(ORDINARY)]
    basis = list(directions)
    for one in ordinary:
        _, rest = _beside(basis, gradient_of(model, one))
        basis += [rest] if rest is not None else []
    raw_MP = np.stack([gradient_of(model, one) for one in canaries])
    norms_M = np.linalg.norm(raw_MP, axis=1)
    basis_KP = np.stack(basis)
    pull_MK = raw_MP @ basis_KP.T / norms_M[:, None]
    seat_M, everybody = _in_turn(canaries, ordinary)
    return People(_together(everybody, clips), seat_M, basis_KP, pull_MK, float(norms_M.min()))


def gradient_of(model: torch.nn.Module, person: SiteData) -> NDArray[np.float64]:
    """Return the mean gradient of a person's clips by plain differentiation, flat."""
    device = next(model.parameters()).device
    x = {name: torch.from_numpy(value).to(device) for name, value in person.x.items()}
    trained = [value for value in model.parameters() if value.requires_grad]
    logits_BC = model(x, torch.from_numpy(person.present_NM).to(device))
    loss = loss_per_clip(logits_BC, torch.from_numpy(person.y_NC).to(device)).mean()
    found = torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in found]).double().cpu().numpy()


def _canaries(
    study: Study, model: torch.nn.Module, clips: int, draw: np.random.Generator
) -> tuple[list[SiteData], list[NDArray[np.float64]]]:
    """Draw persons until enough of them pull a way of their own."""
    people: list[SiteData] = []
    basis: list[NDArray[np.float64]] = []
    for _ in range(_TRIES):
        one = _person(study, clips, LOUDNESS, draw)
        share, rest = _beside(basis, gradient_of(model, one))
        if rest is not None and share >= OF_ITS_OWN:
            people.append(one)
            basis.append(rest)
        if len(people) == CANARIES:
            break
    if not people:
        raise ConfigError("the study's model has no gradient that an audit could follow")
    return people, basis


def _beside(
    basis: list[NDArray[np.float64]], gradient_P: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64] | None]:
    """Return what of a gradient lies beside all directions so far: its share, and its direction."""
    rest = gradient_P.copy()
    for _ in range(2):  # twice: once leaves rounding errors
        for direction in basis:
            rest -= (rest @ direction) * direction
    length, left = np.linalg.norm(gradient_P), np.linalg.norm(rest)
    share = float(left / length) if length > 0 else 0.0
    return share, (rest / left if share > 1e-3 else None)


def _person(study: Study, clips: int, loudness: float, draw: np.random.Generator) -> SiteData:
    shapes = input_shapes(study)
    x = {
        name: (loudness * draw.standard_normal((clips, *shape))).astype(np.float32)
        for name, shape in shapes.items()
    }
    y_NC = np.tile(_target(targets_of(study), draw), (clips, 1))
    present_NM = np.ones((clips, len(shapes)), dtype=np.bool_)
    names = tuple(map(str, range(clips)))
    person_N = np.zeros(clips, dtype=np.int64)
    return SiteData(x, present_NM, y_NC, person_N, ("0",), names, np.full(clips, ""))


def _target(targets: Targets, draw: np.random.Generator) -> NDArray[np.float32]:
    """Draw a class, and for each dimension and label one end of it."""
    y_T = np.zeros(targets.columns, dtype=np.float32)
    first = len(targets.classes)
    if first:
        y_T[draw.integers(first)] = 1
    for column in range(first, targets.columns, 2):
        y_T[column + draw.integers(2)] = 1
    return y_T


def _in_turn(
    canaries: list[SiteData], ordinary: list[SiteData]
) -> tuple[NDArray[np.int64], list[SiteData]]:
    """Return everybody in an order in which both kinds mix, and where the canaries stand in it."""
    places = np.concatenate([np.arange(len(canaries)), np.linspace(0.5, len(canaries), ORDINARY)])
    order = np.argsort(places, kind="stable")
    everybody = [*canaries, *ordinary]
    return np.argsort(order)[: len(canaries)], [everybody[place] for place in order]


def _together(people: list[SiteData], clips: int) -> SiteData:
    count = len(people) * clips
    return SiteData(
        x={name: np.concatenate([one.x[name] for one in people]) for name in people[0].x},
        present_NM=np.concatenate([one.present_NM for one in people]),
        y_NC=np.concatenate([one.y_NC for one in people]),
        person_N=np.repeat(np.arange(len(people)), clips),
        person_ids=tuple(f"{number:04}" for number in range(len(people))),
        sample_ids=tuple(map(str, range(count))),
        split_N=np.full(count, ""),
    )
