"""One suite that every head passes, and what holds of several over one fused token."""

import pytest
import torch
from opacus import GradSampleModule
from opacus.validators import ModuleValidator

from common.config import Modality, Model, Study
from common.models.heads import answers, loss_per_clip
from common.models.registry import FUSIONS, build_for
from common.privacy.clip_units import ROUNDING
from common.privacy.clipping import clipped_sum
from common.ratings import Dimension, Label
from common.targets import targets_of

SHAPES = {"audio": (7,), "physio": (9, 5)}
BATCH = 6
ASKED = {
    "classes": {"classes": ("anger", "joy", "neutral")},
    "dimensions": {"dimensions": {"valence": Dimension(), "arousal": Dimension(1, 5)}},
    "labels": {"labels": {"laughter": Label(), "tears": Label(), "sigh": Label()}},
}
KINDS = ("classes", "dimensions", "labels")
CASES = [*KINDS, "classes dimensions", "classes labels", "classes dimensions labels"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:Full backward hook is firing"),
    pytest.mark.parametrize("case", CASES),
]
every_fusion = pytest.mark.parametrize(
    ("fusion", "hidden"), [(fusion, hidden) for fusion in FUSIONS for hidden in (0, 8)]
)


def study(case, fusion="masked_mean", hidden=8):
    asked = {key: value for name in case.split() for key, value in ASKED[name].items()}
    modalities = {name: Modality() for name in SHAPES}
    model = Model(width=8, hidden=hidden, fusion=fusion)
    return Study(name="heads", modalities=modalities, model=model, seed=3, **asked)


def built(case, fusion="masked_mean", hidden=8):
    """The model with every parameter moved, so that no zero hides a missing gradient."""
    model = build_for(study(case, fusion, hidden), SHAPES)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter + 0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def batch():
    generator = torch.Generator().manual_seed(2)
    x = {name: torch.randn(BATCH, *shape, generator=generator) for name, shape in SHAPES.items()}
    present_BM = torch.tensor([[1, 1], [0, 0], [1, 0], [0, 1], [1, 1], [1, 0]], dtype=torch.bool)
    return x, present_BM


def drawn(case):
    """Targets with gaps: clip 2 knows no class, clip 3 nothing but it, clip 4 nothing."""
    targets = targets_of(study(case))
    generator = torch.Generator().manual_seed(4)
    first = len(targets.classes)
    y_BT = torch.rand(BATCH, targets.columns, generator=generator)
    y_BT[:, :first] /= y_BT[:, :first].sum(1, keepdim=True).clamp(min=1e-9)
    y_BT[:, first + 1 :: 2] = 1 - y_BT[:, first::2]
    y_BT[2, :first] = y_BT[3, first:] = y_BT[4] = 0
    return y_BT


def reference(score_K, y_T, classes):
    """The loss of one clip as the textbook has it, kind by kind and score by score."""
    loss = torch.zeros(())
    if classes:
        log_share_C = score_K[:classes] - score_K[:classes].exp().sum().log()
        loss = loss - (y_T[:classes] * log_share_C).sum()
    for k in range(classes, len(score_K)):
        yes, no = y_T[classes + 2 * (k - classes)], y_T[classes + 2 * (k - classes) + 1]
        place = 1 / (1 + (-score_K[k]).exp())
        loss = loss - yes * place.log() - no * (1 - place).log()
    return loss


@every_fusion
def test_there_is_one_column_of_scores_for_each_target(case, fusion, hidden):
    x, present_BM = batch()
    score_BK = built(case, fusion, hidden)(x, present_BM)
    assert score_BK.shape == (BATCH, targets_of(study(case)).scores)
    assert score_BK.dtype == torch.float32
    assert score_BK.isfinite().all()


@every_fusion
def test_a_clip_without_any_modality_gets_an_answer_that_knows_nothing(case, fusion, hidden):
    x, present_BM = batch()
    score_BK = built(case, fusion, hidden)(x, torch.zeros_like(present_BM))
    assert torch.equal(score_BK, torch.zeros_like(score_BK))
    classes = len(study(case).classes)
    said_BK = answers(score_BK, classes)
    assert torch.allclose(said_BK[:, :classes], torch.tensor(1 / max(classes, 1)))
    assert torch.equal(said_BK[:, classes:], torch.full_like(said_BK[:, classes:], 0.5))


def test_the_loss_is_the_textbooks(case):
    x, present_BM = batch()
    score_BK, y_BT, classes = built(case)(x, present_BM), drawn(case), len(study(case).classes)
    expected = [reference(s, y, classes) for s, y in zip(score_BK, y_BT, strict=True)]
    torch.testing.assert_close(loss_per_clip(score_BK, y_BT), torch.stack(expected))


def test_the_gradient_in_a_score_is_within_one_and_the_loss_finite_however_far_off(case):
    """Quotes loss_per_clip: its gradient in a score is within ±1."""
    y_BT = drawn(case)
    for size in (1.0, 1e3, 1e30):
        shape = BATCH, targets_of(study(case)).scores
        score_BK = (size * torch.randn(shape)).requires_grad_()
        loss_B = loss_per_clip(score_BK, y_BT)
        assert loss_B.isfinite().all()
        loss_B.sum().backward()
        assert score_BK.grad.abs().max() <= 1 + 1e-6


def test_an_unknown_target_adds_nothing_to_the_loss_or_any_gradient(case):
    """Quotes the module: a target that is not known adds nothing."""
    x, present_BM = batch()
    classes = len(study(case).classes)
    score_BK = built(case)(x, present_BM).detach().requires_grad_()
    loss_B = loss_per_clip(score_BK, drawn(case))
    loss_B.sum().backward()
    assert loss_B[4] == 0
    assert torch.equal(score_BK.grad[4], torch.zeros_like(score_BK.grad[4]))
    assert not score_BK.grad[2, :classes].any()
    assert not score_BK.grad[3, classes:].any()


@every_fusion
def test_opacus_accepts_it_and_per_sample_gradients_are_those_of_autograd(case, fusion, hidden):
    x, present_BM = batch()
    plain, y_BT = built(case, fusion, hidden), drawn(case)
    assert ModuleValidator.validate(plain, strict=True) == []
    opacus = GradSampleModule(built(case, fusion, hidden), loss_reduction="sum")
    loss_per_clip(opacus(x, present_BM), y_BT).sum().backward()
    for clip in range(BATCH):
        plain.zero_grad()
        one = {name: value[clip : clip + 1] for name, value in x.items()}
        loss_per_clip(plain(one, present_BM[clip : clip + 1]), y_BT[clip : clip + 1]).backward()
        for expected, found in zip(plain.parameters(), opacus.parameters(), strict=True):
            torch.testing.assert_close(found.grad_sample[clip], expected.grad, atol=1e-5, rtol=1e-4)


@every_fusion
def test_gradient_is_only_where_a_modality_is_present(case, fusion, hidden):
    x, present_BM = batch()
    model = GradSampleModule(built(case, fusion, hidden), loss_reduction="sum")
    y_BT = drawn(case)
    y_BT[4] = y_BT[0]
    y_BT[2:4] = y_BT[5]
    loss_per_clip(model(x, present_BM), y_BT).sum().backward()
    for column, name in enumerate(sorted(SHAPES)):
        size_B = sum(
            parameter.grad_sample.flatten(1).norm(dim=1)
            for key, parameter in model._module.named_parameters()
            if key.startswith(f"encoders.{name}.")
        )
        assert torch.equal(size_B > 0, present_BM[:, column])


@every_fusion
def test_clipping_by_person_is_exact(case, fusion, hidden):
    """Clips 0-1, 2-3 and 4-5 are one person each; the reference is plain autograd."""
    x, present_BM = batch()
    y_BT, model, person_B = drawn(case), built(case, fusion, hidden), torch.arange(BATCH) // 2
    found = clipped_sum(model, loss_per_clip, x, present_BM, y_BT, person_B, 3, 0.5)
    expected = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for person in range(3):
        rows = person_B == person
        one = {name: value[rows] for name, value in x.items()}
        model.zero_grad()
        loss_per_clip(model(one, present_BM[rows]), y_BT[rows]).mean().backward()
        norm = sum(p.grad.double().square().sum() for p in model.parameters()).sqrt()
        assert found.norms_U[person] == pytest.approx(norm.item(), rel=1e-4)
        for name, parameter in model.named_parameters():
            expected[name] += parameter.grad * min(1.0, 0.5 * (1 - ROUNDING) / norm.item())
    for name, value in expected.items():
        torch.testing.assert_close(found.gradients[name].float(), value, atol=2e-5, rtol=1e-3)


def test_equal_studies_give_equal_models_that_say_they_know_nothing(case):
    first, second = (build_for(study(case), SHAPES) for _ in range(2))
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not first(*batch()).any()
