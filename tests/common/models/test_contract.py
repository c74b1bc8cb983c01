"""One suite that every encoder, fusion and head passes."""

from dataclasses import replace

import pytest
import torch
from opacus import GradSampleModule
from opacus.validators import ModuleValidator
from torch import nn

from common.config import Modality, Model, Study
from common.models.encoders import IMAGE, SEQUENCE, VECTOR, Sizes
from common.models.fusion import Fusion
from common.models.registry import ENCODERS, FUSIONS, build_for
from common.privacy.clip_units import ROUNDING
from common.privacy.clipping import clipped_sum

SHAPES = {VECTOR: (7,), SEQUENCE: (9, 5), IMAGE: (2, 12, 10)}
MODALITIES = {"audio": (7,), "physio": (9, 5), "image": (2, 12, 10)}
BATCH = 6
pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")
ALLOWED = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.LayerNorm, nn.GroupNorm, nn.Embedding,
    nn.GELU, nn.AdaptiveAvgPool2d, nn.Dropout, nn.Identity,
)  # fmt: skip

ENCODER_CASES = [(name, rank) for name, kind in ENCODERS.items() for rank in kind.ranks]
MODEL_CASES = [(fusion, hidden) for fusion in FUSIONS for hidden in (0, 8)]


def study(fusion="masked_mean", hidden=8, width=8, **changes):
    return Study(
        name="contract",
        classes=("anger", "joy", "neutral", "sadness"),
        modalities={name: Modality() for name in changes.pop("modalities", MODALITIES)},
        model=Model(width=width, hidden=hidden, fusion=fusion),
        seed=3,
        **changes,
    )


def sizes(shape):
    return Sizes(shape, width=5, hidden=8, dropout=0.0, norm=3.0)


def stirred(model):
    """Move every parameter off its first value, so that no zero hides a missing gradient."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter + 0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def batch(shapes=MODALITIES, size=BATCH):
    generator = torch.Generator().manual_seed(2)
    x = {name: torch.randn(size, *shape, generator=generator) for name, shape in shapes.items()}
    present_BM = torch.rand(size, len(shapes), generator=generator) < 0.6
    present_BM[0] = True
    present_BM[1] = False
    present_BM[2:, :] |= torch.eye(len(shapes), dtype=torch.bool)[torch.arange(size - 2) % 3]
    return x, present_BM


def built(fusion, hidden, **changes):
    return build_for(study(fusion, hidden, **changes), MODALITIES)


@pytest.mark.parametrize(("name", "rank"), ENCODER_CASES)
def test_an_encoder_maps_its_shape_to_one_token(name, rank):
    encoder = ENCODERS[name](sizes(SHAPES[rank]))
    token_BW = encoder(torch.randn(3, *SHAPES[rank]))
    assert token_BW.shape == (3, 5)
    assert token_BW.dtype == torch.float32


@pytest.mark.parametrize(("name", "rank"), ENCODER_CASES)
def test_an_encoder_reads_one_clip_without_regard_to_the_others(name, rank):
    encoder = ENCODERS[name](sizes(SHAPES[rank]))
    x = torch.randn(3, *SHAPES[rank])
    torch.testing.assert_close(encoder(x)[1:2], encoder(x[1:2]))


@pytest.mark.parametrize("name", ["conv1d", "gru", "conv2d"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_convolution_reads_the_smallest_inputs(name, size):
    shape = (1, size, size) if name == "conv2d" else (size, 4)
    assert ENCODERS[name](sizes(shape))(torch.randn(2, *shape)).isfinite().all()


@pytest.mark.parametrize(("fusion", "hidden"), MODEL_CASES)
def test_logits_have_one_column_per_class(fusion, hidden):
    x, present_BM = batch()
    logits_BC = stirred(built(fusion, hidden))(x, present_BM)
    assert logits_BC.shape == (BATCH, 4)
    assert logits_BC.dtype == torch.float32
    assert logits_BC.isfinite().all()


@pytest.mark.parametrize(("fusion", "hidden"), MODEL_CASES)
def test_a_clip_without_any_modality_gets_equal_scores(fusion, hidden):
    x, present_BM = batch()
    logits_BC = stirred(built(fusion, hidden))(x, torch.zeros_like(present_BM))
    assert torch.equal(logits_BC, torch.zeros(BATCH, 4))


@pytest.mark.parametrize(("fusion", "hidden"), MODEL_CASES)
@pytest.mark.parametrize("junk", [1e4, float("nan"), float("inf")])
def test_what_is_absent_changes_nothing(fusion, hidden, junk):
    x, present_BM = batch()
    model = stirred(built(fusion, hidden))
    spoilt = {
        name: x[name].masked_fill(
            ~present_BM[:, column].reshape(-1, *(1,) * (x[name].dim() - 1)), junk
        )
        for column, name in enumerate(sorted(MODALITIES))
    }
    torch.testing.assert_close(model(spoilt, present_BM), model(x, present_BM))


@pytest.mark.parametrize(("fusion", "hidden"), MODEL_CASES)
def test_an_absent_modality_gets_no_gradient_and_a_present_one_does(fusion, hidden):
    """Quotes Multimodal: a clip's gradient is zero, not stale, in the branches of what it lacks."""
    x, present_BM = batch()
    model = GradSampleModule(stirred(built(fusion, hidden)), loss_reduction="sum")
    labels_B = torch.arange(BATCH) % 4
    nn.functional.cross_entropy(model(x, present_BM), labels_B, reduction="sum").backward()
    for column, name in enumerate(sorted(MODALITIES)):
        size_B = sum(
            parameter.grad_sample.flatten(1).norm(dim=1)
            for key, parameter in model._module.named_parameters()
            if key.startswith(f"encoders.{name}.")
        )
        assert torch.equal(size_B > 0, present_BM[:, column])


@pytest.mark.parametrize(("fusion", "hidden"), MODEL_CASES)
def test_opacus_accepts_every_layer(fusion, hidden):
    model = built(fusion, hidden)
    assert ModuleValidator.validate(model, strict=True) == []
    leaves = [m for m in model.modules() if not list(m.children()) and not isinstance(m, Fusion)]
    assert [type(leaf) for leaf in leaves if not isinstance(leaf, ALLOWED)] == []


@pytest.mark.parametrize(("fusion", "hidden"), MODEL_CASES)
def test_per_sample_gradients_are_those_of_autograd(fusion, hidden):
    x, present_BM = batch()
    labels_B = torch.arange(BATCH) % 4
    plain = stirred(built(fusion, hidden))
    opacus = GradSampleModule(stirred(built(fusion, hidden)), loss_reduction="sum")
    nn.functional.cross_entropy(opacus(x, present_BM), labels_B, reduction="sum").backward()
    for clip in range(BATCH):
        plain.zero_grad()
        one = {name: value[clip : clip + 1] for name, value in x.items()}
        logits_1C = plain(one, present_BM[clip : clip + 1])
        nn.functional.cross_entropy(logits_1C, labels_B[clip : clip + 1]).backward()
        for expected, found in zip(plain.parameters(), opacus.parameters(), strict=True):
            torch.testing.assert_close(found.grad_sample[clip], expected.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("fusion", "hidden"), MODEL_CASES)
def test_equal_studies_give_equal_models_and_leave_global_randomness_alone(fusion, hidden):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = built(fusion, hidden).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    second = built(fusion, hidden).state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_another_seed_gives_another_model(fusion):
    first = built(fusion, 8)
    second = build_for(replace(study(fusion, 8), seed=4), MODALITIES)
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_one_modality_less_leaves_the_other_branches_as_they_were(fusion):
    whole = built(fusion, 8).state_dict()
    part = build_for(study(fusion, 8, modalities=("audio", "image")), MODALITIES).state_dict()
    shared = [key for key in part if key.startswith(("encoders.", "head."))]
    assert any(key.startswith("encoders.image.") for key in shared)
    assert all(torch.equal(part[key], whole[key]) for key in shared)


@pytest.mark.parametrize(("fusion", "hidden"), MODEL_CASES)
def test_inputs_are_not_changed(fusion, hidden):
    x, present_BM = batch()
    kept = {name: value.clone() for name, value in x.items()}, present_BM.clone()
    stirred(built(fusion, hidden))(x, present_BM).sum().backward()
    assert torch.equal(present_BM, kept[1])
    assert all(torch.equal(x[name], kept[0][name]) for name in x)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_it_learns_what_one_modality_alone_can_tell(fusion):
    generator = torch.Generator().manual_seed(0)
    labels_B = torch.arange(64) % 4
    x = {name: torch.randn(64, *shape, generator=generator) for name, shape in MODALITIES.items()}
    x["audio"][:, :4] += 3 * nn.functional.one_hot(labels_B, 4)
    present_BM = torch.ones(64, 3, dtype=torch.bool)
    model = built(fusion, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x, present_BM), labels_B).backward()
        optimizer.step()
    assert (model(x, present_BM).argmax(dim=1) == labels_B).float().mean() > 0.9


@pytest.mark.parametrize(("fusion", "hidden"), MODEL_CASES)
def test_clipping_by_person_is_exact(fusion, hidden):
    """Clips 0-1, 2-3 and 4-5 are one person each; the reference is plain autograd."""
    x, present_BM = batch()
    y_BC = nn.functional.one_hot(torch.arange(BATCH) % 4, 4).float()
    person_B = torch.arange(BATCH) // 2
    model = stirred(built(fusion, hidden))

    def loss_per_clip(logits_BC, y_BC):
        return -(y_BC * logits_BC.log_softmax(dim=1)).sum(dim=1)

    found = clipped_sum(model, loss_per_clip, x, present_BM, y_BC, person_B, 3, 0.5)
    expected = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for person in range(3):
        rows = person_B == person
        one = {name: value[rows] for name, value in x.items()}
        model.zero_grad()
        loss_per_clip(model(one, present_BM[rows]), y_BC[rows]).mean().backward()
        norm = sum(p.grad.double().square().sum() for p in model.parameters()).sqrt()
        assert found.norms_U[person] == pytest.approx(norm.item(), rel=1e-4)
        for name, parameter in model.named_parameters():
            expected[name] += parameter.grad * min(1.0, 0.5 * (1 - ROUNDING) / norm.item())
    for name, value in expected.items():
        torch.testing.assert_close(found.gradients[name].float(), value, atol=2e-5, rtol=1e-3)
