"""Training at a site, against plain computations by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from client.balance import weights_by_person, weights_by_site, weights_over_sites
from client.data.arrays import SiteData
from client.train import (
    PHYSICAL_BATCH,
    PrivateStep,
    Units,
    _chunks,
    clipped_gradient,
    device_of,
    dropout_from,
    optimizer_of,
    to_batch,
    train_openly,
    train_privately,
)
from common.config import Training
from common.errors import ConfigError, PrivacyError
from common.models.heads import loss_per_clip
from common.models.registry import build
from common.privacy.clip_units import ROUNDING
from common.privacy.mechanism import CryptoStream


class Everyone:
    """A stream in which all units join and noise is what the test says."""

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def poisson_mask(self, size, rate):
        return np.ones(size, bool)

    def choose(self, size, most):
        return np.arange(most)

    def gaussian(self, size, sigma=1.0):
        return np.full(size, self.noise * sigma, np.float32)


class Nobody(Everyone):
    def poisson_mask(self, size, rate):
        return np.zeros(size, bool)


@pytest.fixture
def small(tiny_study):
    study = tiny_study("training.local_steps=1", "training.learning_rate=0.5")
    return study, build(study)


def data_of(persons, clips=4, seed=0):
    rng = np.random.default_rng(seed)
    n = persons * clips
    x = {
        "features_a": rng.normal(0, 1, (n, 6)).astype(np.float32),
        "features_b": rng.normal(0, 1, (n, 4)).astype(np.float32),
    }
    present = np.ones((n, 2), bool)
    present[::3, 1] = False
    x["features_b"][::3] = 0
    y = np.eye(3, dtype=np.float32)[rng.integers(0, 3, n)]
    person = np.repeat(np.arange(persons), clips)
    names = tuple(str(i) for i in range(n))
    return SiteData(x, present, y, person, tuple("abcdefgh"[:persons]), names, np.array([""] * n))


def gradient_by_hand(model, data, weight_N, max_grad_norm):
    """One person after the other, by autograd: mean over the person's clips, clipped, summed."""
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for person in np.unique(data.person_N):
        mine = data.take(data.person_N == person)
        batch = to_batch(mine, weight_N[data.person_N == person], torch.device("cpu"))
        model.zero_grad()
        loss_B = loss_per_clip(model(batch.x, batch.present_BM), batch.y_BC) * batch.weight_B
        loss_B.mean().backward()
        grads = {name: p.grad.clone() for name, p in model.named_parameters()}
        norm = torch.sqrt(sum((g.double() ** 2).sum() for g in grads.values()))
        factor = min(1.0, (1 - ROUNDING) * max_grad_norm / float(norm))
        for name, g in grads.items():
            total[name] += factor * g
    model.zero_grad()
    return total


@pytest.mark.parametrize("max_grad_norm", [0.05, 0.5, 100.0])
def test_the_clipped_gradient_is_the_one_computed_person_by_person(small, max_grad_norm):
    _, model = small
    data = data_of(5)
    weight_N = weights_by_person(data.y_NC, data.person_N)
    batch = to_batch(data, weight_N, torch.device("cpu"))
    step = PrivateStep(0.5, 99, max_grad_norm, 1.0, 5.0)
    found = clipped_gradient(model, batch, Units.of(data, "person"), step, Everyone())
    expected = gradient_by_hand(model, data, weight_N, max_grad_norm)
    for name, value in expected.items():
        assert torch.allclose(found[name].float(), value, rtol=2e-4, atol=1e-6), name


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_a_private_step_is_the_textbook_one(small, noise):
    """θ − rate · (clipped sum + σC·z) / expected units, with z given."""
    study, model = small
    data = data_of(5)
    ones_N = np.ones(len(data), np.float32)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    summed = gradient_by_hand(model, data, ones_N, 0.3)
    step = PrivateStep(0.5, 99, 0.3, 2.0, 2.5)
    batch = to_batch(data, ones_N, torch.device("cpu"))
    train_privately(model, batch, Units.of(data, "person"), step, study, Everyone(noise))
    for name, p in model.named_parameters():
        expected = before[name] - 0.5 * (summed[name] + 2.0 * 0.3 * noise) / 2.5
        assert torch.allclose(p, expected, rtol=1e-3, atol=2e-5), name


def test_a_step_without_anybody_is_noise_alone(small):
    study, model = small
    data = data_of(3)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    batch = to_batch(data, np.ones(len(data), np.float32), torch.device("cpu"))
    step = PrivateStep(0.5, 99, 1.0, 1.0, 4.0)
    train_privately(model, batch, Units.of(data, "person"), step, study, Nobody(1.0))
    for name, p in model.named_parameters():
        assert torch.allclose(before[name] - p, torch.full_like(p, 0.5 / 4), atol=1e-4)


def test_a_private_step_without_noise_is_refused(small):
    study, model = small
    data = data_of(3)
    batch = to_batch(data, np.ones(len(data), np.float32), torch.device("cpu"))
    step, stream = PrivateStep(0.5, 99, 1.0, 0.0, 4.0), CryptoStream(bytes(32))
    with pytest.raises(PrivacyError):
        train_privately(model, batch, Units.of(data, "person"), step, study, stream)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=30))
def test_a_persons_weights_depend_on_that_persons_clips_alone(clips):
    person_N = np.array([p for p, _ in clips])
    y_NC = np.eye(3, dtype=np.float32)[[k for _, k in clips]]
    together = weights_by_person(y_NC, person_N)
    for person in set(person_N.tolist()):
        mine = person_N == person
        alone = weights_by_person(y_NC[mine], np.zeros(int(mine.sum()), int))
        assert np.array_equal(together[mine], alone)
        assert together[mine].mean() == pytest.approx(1.0, rel=1e-5)


def test_classes_weigh_the_same_in_sum_at_a_site():
    y_NC = np.eye(3, dtype=np.float32)[[0] * 8 + [1] * 2]
    weight_N = weights_by_site(y_NC)
    assert weight_N[:8].sum() == pytest.approx(weight_N[8:].sum())
    assert weight_N.mean() == pytest.approx(1.0)


@given(st.lists(st.lists(st.integers(0, 2), max_size=9), min_size=1, max_size=4).filter(any))
def test_weights_over_sites_are_those_of_one_site_with_all_clips(sites):
    """Quotes weights_over_sites: the weights of each class that occurs add up alike."""
    shares = [np.eye(4, dtype=np.float32)[np.array(site, dtype=int)] for site in sites]
    together = np.concatenate(shares)
    counts_C = together.sum(0)
    weight_N = np.concatenate([weights_over_sites(y_NC, counts_C) for y_NC in shares])
    assert weight_N == pytest.approx(weights_by_site(together), rel=1e-5)
    of_class = (weight_N @ together)[counts_C > 0]
    assert of_class == pytest.approx(np.full(len(of_class), of_class[0]), rel=1e-5)


def test_a_class_that_nobody_counted_weighs_nothing():
    """Quotes weights_over_sites: a class that nobody counted weighs nothing."""
    y_NC = np.eye(3, dtype=np.float32)
    assert weights_over_sites(y_NC, np.array([3, 0, 1], np.float32))[1] == 0
    assert not weights_over_sites(y_NC, np.zeros(3, np.float32)).any()


def test_the_loss_of_soft_labels_is_the_cross_entropy():
    logits, y = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.rand(5, 3)
    y = y / y.sum(1, keepdim=True)
    expected = torch.nn.functional.cross_entropy(logits, y, reduction="none")
    assert torch.allclose(loss_per_clip(logits, y), expected)


def test_units_are_persons_or_clips():
    data = data_of(3, clips=2).take(np.array([0, 1, 4, 5]))
    assert [rows.tolist() for rows in Units.of(data, "person").rows] == [[0, 1], [2, 3]]
    assert [rows.tolist() for rows in Units.of(data, "record").rows] == [[0], [1], [2], [3]]


def test_a_sample_takes_whole_persons_and_at_most_so_many_clips():
    units = Units.of(data_of(6, clips=10), "person")
    rows, unit, count = units.sample(CryptoStream(bytes(32)), 0.5, 3)
    assert 0 < count <= 6
    assert np.array_equal(np.bincount(unit, minlength=count), [3] * count)
    assert len(set(rows.tolist())) == len(rows)
    assert all(len(set((rows[unit == u] // 10).tolist())) == 1 for u in range(count))


def test_persons_join_at_the_rate_that_was_asked():
    stream = CryptoStream(bytes(32))
    units = Units(tuple(np.array([i]) for i in range(50)))
    joined = [units.sample(stream, 0.2, 1)[2] for _ in range(400)]
    assert np.mean(joined) == pytest.approx(10, abs=0.6)


def test_nobody_is_sampled_at_a_site_without_persons():
    assert Units(()).sample(CryptoStream(bytes(32)), 0.5, 4)[2] == 0


@given(st.lists(st.integers(1, 700), max_size=12))
def test_chunks_cover_every_row_once_and_split_no_unit(sizes):
    unit_B = np.repeat(np.arange(len(sizes)), sizes)
    chunks = list(_chunks(unit_B, len(sizes)))
    assert [row for a, b in chunks for row in range(a, b)] == list(range(len(unit_B)))
    for a, b in chunks:
        inside = set(unit_B[a:b].tolist())
        assert sum(sizes[u] for u in inside) == b - a
        assert b - a <= PHYSICAL_BATCH or len(inside) == 1


def test_large_batches_give_the_gradient_of_one(small, monkeypatch):
    _, model = small
    data = data_of(8)
    batch = to_batch(data, np.ones(len(data), np.float32), torch.device("cpu"))
    step = PrivateStep(0.5, 99, 0.5, 1.0, 5.0)
    units = Units.of(data, "person")
    whole = clipped_gradient(model, batch, units, step, Everyone())
    monkeypatch.setattr("client.train.PHYSICAL_BATCH", 9)
    parts = clipped_gradient(model, batch, units, step, Everyone())
    assert all(torch.allclose(whole[n].double(), parts[n].double(), atol=1e-6) for n in whole)


def test_plain_training_lowers_the_loss_and_repeats(small):
    study, _ = small
    data = data_of(8)
    batch = to_batch(data, np.ones(len(data), np.float32), torch.device("cpu"))
    models = [build(study), build(study)]
    first = loss_per_clip(models[0](batch.x, batch.present_BM), batch.y_BC).mean()
    for model in models:
        train_openly(model, batch, study, torch.Generator().manual_seed(3))
    after = loss_per_clip(models[0](batch.x, batch.present_BM), batch.y_BC).mean()
    assert after < first
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_dropout_repeats_and_leaves_the_global_state_alone():
    cpu, drop = torch.device("cpu"), torch.nn.Dropout(0.5)
    before = torch.random.get_rng_state()
    drawn = []
    for seed in (1, 1, 2):
        with dropout_from(seed, cpu):
            drawn.append(drop(torch.ones(64)))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(before, torch.random.get_rng_state())


def test_devices():
    assert device_of("cpu").type == "cpu"
    assert device_of("auto").type in ("cpu", "cuda")
    with pytest.raises(ConfigError, match="CUDA devices"):
        device_of("cuda:99")


def test_an_unknown_optimizer_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="expected one of sgd, adam"):
        optimizer_of(torch.nn.Linear(1, 1), Training(optimizer="lion"))
