"""Audits pass on the real step and fail on each planted fault."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from common.errors import ConfigError
from common.privacy import audit
from common.privacy.clipping import clipped_sum
from common.privacy.mechanism import CryptoStream, add_noise, noise_deviation

SIGMA, NORM = 1.5, 0.5


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(12, 3)

    def forward(self, x, present_BM):
        return self.linear(x["a"])


def cross_entropy(logits_BC, y_BC):
    return -(y_BC * F.log_softmax(logits_BC, dim=-1)).sum(-1)


class Site:
    """A site's DP step, as real as it gets here, with room for a fault."""

    def __init__(self, seed, *, sigma=SIGMA, clip=NORM, seeded=False, stale=False):
        self.model, self.sigma, self.clip = Tiny(), sigma, clip
        self.seeded, self.stale, self.last = seeded, stale, None
        self.keys = np.random.default_rng(seed)
        torch.manual_seed(seed)
        self.x, self.y = torch.randn(7, 12), F.one_hot(torch.arange(7) % 3, 3).float()
        self.canary = torch.full((1, 12), 300.0)

    def rows(self, with_canary):
        x = torch.cat([self.x[:6], self.canary]) if with_canary else self.x[:6]
        return {"a": x}, torch.ones(len(x), 1, dtype=torch.bool), self.y[: len(x)]

    def clipped(self, rows, norm):
        x, present, y = rows
        units = {"unit_B": torch.arange(len(y)), "num_units": len(y)}
        return clipped_sum(self.model, cross_entropy, x, present, y, **units, max_grad_norm=norm)

    def release(self, with_canary=False, *, empty=False):
        rows = tuple(self.rows(with_canary))
        if empty:
            rows = ({"a": rows[0]["a"][:0]}, rows[1][:0], rows[2][:0])
        total = self.clipped(rows, self.clip).gradients
        if self.stale:
            share = self.last if self.last is not None else with_canary
            self.last = with_canary
            total = {name: tensor * (0.2 if share else 1.0) for name, tensor in total.items()}
        key = bytes(32) if self.seeded else self.keys.bytes(32)
        noised = add_noise(
            CryptoStream(key), total, noise_multiplier=self.sigma, max_grad_norm=NORM
        )
        return flat(noised)

    def direction(self):
        x, present, y = self.rows(with_canary=True)
        return flat(self.clipped(({"a": x["a"][6:]}, present[6:], y[6:]), 1e9).gradients)


def flat(tensors):
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)]).numpy()


def noise_findings(seed, **fault):
    site = Site(seed, **fault)
    deviation = noise_deviation(SIGMA, NORM, 39)
    return audit.noise_audit(lambda: site.release(empty=True), deviation, steps=40).findings


def canary_findings(seed, **fault):
    site = Site(seed, **fault)
    coins = np.random.default_rng(seed + 1).random(audit.coins_needed(SIGMA)) < 0.5
    found = audit.canary_audit(
        site.release, site.direction(), coins, noise_multiplier=SIGMA, max_grad_norm=NORM
    )
    return found.findings


@pytest.mark.parametrize("seed", range(2))
def test_the_real_step_passes(seed):
    assert noise_findings(seed) == ()
    assert canary_findings(seed) == ()


def stale_findings(seed, **fault):
    """The carry-over shows in the sum itself: without much noise, in few steps."""
    site = Site(seed, **fault)
    site.sigma = 0.05
    coins = np.random.default_rng(seed + 1).random(80) < 0.5
    found = audit.canary_audit(
        site.release, site.direction(), coins, noise_multiplier=0.05, max_grad_norm=NORM
    )
    return found.findings


FAULTS = {
    "half the noise": ({"sigma": SIGMA / 2}, noise_findings, "the noise is 0.[45]"),
    "a seeded generator": ({"seeded": True}, noise_findings, "two steps share noise"),
    "half the noise, by canary": ({"sigma": SIGMA / 2}, canary_findings, "told better"),
    "no clipping": ({"clip": 1e9}, canary_findings, "told better|moves the sum"),
    "clipping to twice the norm": ({"clip": 2 * NORM}, canary_findings, "told better"),
    "norms of the batch before": ({"stale": True}, stale_findings, "moves the next"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name):
    fault, findings, says = FAULTS[name]
    found = findings(3, **fault)
    assert any(re.search(says, text) for text in found), found


def test_the_real_step_carries_nothing_over():
    assert not [text for text in stale_findings(3) if "next" in text]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_forty_times_of_forty(name):
    fault, findings, _ = FAULTS[name]
    assert all(findings(seed, **fault) for seed in range(100, 140))


@pytest.mark.slow
def test_no_false_alarm_of_the_real_step_in_twenty():
    for seed in range(1000, 1020):
        assert noise_findings(seed) == ()
        assert canary_findings(seed) == ()
        assert not [text for text in stale_findings(seed) if "next" in text]


def test_no_false_alarm_in_two_hundred_ideal_mechanisms():
    """A canary of exactly C in noise of exactly σC: the worst that is allowed."""
    direction = np.array([1.0], dtype=np.float32)
    for seed in range(200):
        draw = np.random.default_rng(seed)
        coins = draw.random(audit.coins_needed(SIGMA)) < 0.5
        found = audit.canary_audit(
            lambda coin, draw=draw: np.array([NORM * coin + draw.normal(0, SIGMA * NORM)]),
            direction,
            coins,
            noise_multiplier=SIGMA,
            max_grad_norm=NORM,
        )
        assert found.findings == ()
        noise = audit.noise_audit(lambda draw=draw: draw.normal(0, SIGMA, 500), SIGMA)
        assert noise.findings == ()


def test_no_noise_at_all_is_found_by_both():
    silent = np.zeros(39, dtype=np.float32)
    assert audit.noise_audit(lambda: silent, 1.0, steps=3).findings
    direction = np.eye(39, dtype=np.float32)[0]
    found = audit.canary_audit(
        lambda coin: direction * coin,
        direction,
        [True, True, False, False] * 25,
        noise_multiplier=1.0,
        max_grad_norm=1.0,
    )
    assert found.mu == math.inf
    assert found.findings


def test_a_lower_bound_on_mu_is_below_what_is_claimed():
    site = Site(5)
    coins = np.random.default_rng(6).random(400) < 0.5
    found = audit.canary_audit(
        site.release, site.direction(), coins, noise_multiplier=SIGMA, max_grad_norm=NORM
    )
    assert found.mu_lower < found.mu_claimed == 1 / SIGMA
    assert found.mu == pytest.approx(1 / SIGMA, abs=0.4)


def test_an_audit_needs_both_sides_of_the_coin():
    with pytest.raises(ConfigError, match="more coins"):
        audit.canary_audit(
            lambda _: np.ones(3), np.ones(3), [True] * 9, noise_multiplier=1.0, max_grad_norm=1.0
        )
