"""Which secret sums a study needs: the layout of each task's vector, from the study alone.

Coordinator and sites build the same policy from the same study and roster; its hash is in
every signature, so a site never adds up anything else.
"""

from math import prod

from common.affect.evaluation import counting_lanes, moment_heavy_lanes
from common.budget import contributors, grid_of
from common.config import Study
from common.inputs import Shape, input_shapes
from common.models.registry import build
from common.parameters import group_of, trainable_names
from common.secagg.layout import Exact, Layout, Real, Weight
from common.secagg.roster import Policy, Roster
from common.targets import counts_classes, targets_of

FIXED_POINT = 1 << 20
"""Statistics are summed as integers, in units of 2^-20."""
LARGEST_SUM = 1 << 62
"""What a lane of products may come to over all sites."""
CLASS_COUNTS = "class_counts"
"""The lane of how much of each target all training clips hold, in fixed point."""
LARGEST_INPUT = 1 << 10
"""Inputs are cut to ±2^10 in statistics, so that one clip cannot fill a lane."""


def policy_for(study: Study, roster: Roster) -> Policy:
    """The rules of all sums of a resolved study among these sites.

    Where noise is shared, each sum needs the sites whose shares make up the noise: a majority of
    the roster, however few of it were invited.
    """
    sites = len(roster)
    layouts = {"train": train_layout(study, sites), "evaluate": evaluate_layout(study, sites)}
    if gathers_statistics(study):
        layouts["statistics"] = statistics_layout(study, sites)
    secure, privacy = study.secure_aggregation, study.privacy
    floor = f"{privacy.mode} {privacy.unit} {privacy.target_epsilon!r} {privacy.target_delta!r}"
    fewest = secure.min_sites
    if privacy.mode == "distributed":
        fewest = max(fewest, contributors(sites))
    return Policy(roster, layouts, secure.suite, fewest, secure.update_norm, floor)


def train_layout(study: Study, sites: int) -> Layout:
    """What a training round adds up.

    Weighted updates of every trained tensor, with one weight for each group of parameters; or,
    where noise is shared, noisy gradient sums on their grid and the persons declared.
    """
    if study.privacy.mode == "distributed":
        return _noisy_layout(study, sites)
    secure, shapes = study.secure_aggregation, trained_shapes(study)
    reals = tuple(
        Real(name, shape, secure.update_norm, weight_of(name)) for name, shape in shapes.items()
    )
    cap = 1 << (secure.weight_cap - 1).bit_length()
    names = dict.fromkeys(weight_of(name) for name in shapes)
    return Layout(sites, reals, tuple(Weight(name, cap) for name in names))


def _noisy_layout(study: Study, sites: int) -> Layout:
    """Gradient sums as integers on the grid that choose_grid picked, in 21-bit fields if they fit.

    Where they do not fit, each value takes a word of its own.
    """
    shapes = trained_shapes(study)
    grid = grid_of(study, sites, parameters_of(study))
    declared = Exact("declared_units", cap=1 << 32)
    narrow = Layout(sites)
    if grid.limit > narrow.limit:
        wide = tuple(Exact(name, shape, grid.limit) for name, shape in shapes.items())
        return Layout(sites, exacts=(declared, *wide))
    scale = narrow.limit * study.privacy.max_grad_norm / grid.clip_units
    reals = tuple(Real(name, shape, scale) for name, shape in shapes.items())
    return Layout(sites, reals, exacts=(declared,))


def evaluate_layout(study: Study, sites: int) -> Layout:
    """Exact counts: moments by person, confusion, calibration, and views of modalities.

    Products of sums of ratings grow with the square of a person's clips; their lanes take as much
    as a sum over so many sites can.
    """
    counts = tuple(Exact(name) for name in counting_lanes(study))
    most = LARGEST_SUM // sites
    return Layout(
        sites, exacts=(*counts, *(Exact(name, cap=most) for name in moment_heavy_lanes(study)))
    )


def statistics_layout(study: Study, sites: int) -> Layout:
    """Count, sum and sum of squares of input features, and counts of classes, in fixed point.

    Each is in it only where the study asks for it.
    """
    lanes: list[Exact] = []
    for name, shape in statistics_shapes(study).items():
        lanes += [Exact(f"count/{name}"), Exact(f"sum/{name}", shape)]
        lanes += [Exact(f"square/{name}", shape, 1 << 56)]
    if counts_classes(study):
        lanes.append(Exact(CLASS_COUNTS, counts_shape(study)))
    return Layout(sites, exacts=tuple(lanes))


def gathers_statistics(study: Study) -> bool:
    """Whether sites sum up something before the first round."""
    return study.normalise == "federated" or counts_classes(study)


def counts_shape(study: Study) -> Shape:
    """One count for each column of the targets; none where classes are not counted."""
    return (targets_of(study).columns,) if counts_classes(study) else ()


def statistics_shapes(study: Study) -> dict[str, Shape]:
    """The features of each modality that all sites normalise together; never of images."""
    if study.normalise != "federated":
        return {}
    shapes = input_shapes(study).items()
    return {name: shape[-1:] for name, shape in shapes if len(shape) in (1, 2)}


def trained_shapes(study: Study) -> dict[str, Shape]:
    """Name -> shape of every trained tensor, in the model's order."""
    model = build(study)
    names = set(trainable_names(model))
    return {name: tuple(p.shape) for name, p in model.named_parameters() if name in names}


def parameters_of(study: Study) -> int:
    """Trained values of the study's model."""
    return sum(prod(shape) for shape in trained_shapes(study).values())


def weight_of(name: str) -> str:
    """The weight that multiplies a tensor's update: one for each group of parameters."""
    return f"weight/{group_of(name)}"
