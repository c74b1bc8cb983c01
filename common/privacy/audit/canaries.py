"""How well a unit's part in a step can be told, and whether it is felt in the step after.

Each canary is a unit whose raw gradient is far longer than the clipping norm, along a direction
of its own; a coin of its own decides for each step whether it joins. What a step releases is read
along those directions. Directions are orthogonal, so each canary is an experiment of its own.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.errors import ConfigError
from common.privacy.audit.check import Check
from common.privacy.audit.noise import PAIR_LIMIT_Z

CANARY_LIMIT_Z = 3.09
"""One-sided level of 0.1 % before the leeway."""
LEEWAY = 1.05
CLIP_SLACK = 10.0
"""A shift may exceed C by so many σC / √n."""
LEAST_STEPS = 40

Matrix = npt.NDArray[np.float64]
Coins = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Fit:
    """A linear model of scores by coins.

    Args:
        effect_MK: how far each coin moves each score.
        deviation: of the scores around the model, over all of them.
        spread_M: standard error of a row of effects, in units of the deviation.
    """

    effect_MK: Matrix
    deviation: float
    spread_M: Matrix


@dataclass(frozen=True)
class Told:
    """How well canaries can be told.

    Args:
        mu: measured distance of a score with and without its canary, in standard deviations.
        standard_error: of mu.
        mu_claimed: 1 / σ.
        shift: the furthest that a canary moves the sum along its own direction, in units of C.
        steps: how many steps were looked at.
    """

    mu: float
    standard_error: float
    mu_claimed: float
    shift: float
    steps: int

    @property
    def mu_lower(self) -> float:
        """Return a lower bound on μ, at 99.9 %; never below 0."""
        if not math.isfinite(self.mu):
            return self.mu
        return max(0.0, self.mu - CANARY_LIMIT_Z * self.standard_error)


def told(
    score_NK: Matrix, coin_NM: Coins, *, noise_multiplier: float, max_grad_norm: float
) -> Told:
    """Measure how well canaries can be told apart from their absence.

    Args:
        score_NK: what each step released, along orthonormal directions; the first M of them are
            the canaries' own, in order.
        coin_NM: which canary joined which step.
        noise_multiplier: σ that was charged.
        max_grad_norm: C.

    Raises:
        ConfigError: too few steps.

    Source: the distance of two normal distributions and its standard error, averaged over
    canaries; Jagielski, Ullman, Oprea, NeurIPS 2020, for auditing by crafted records.
    """
    canaries = coin_NM.shape[1]
    found = fit(score_NK[:, :canaries], coin_NM)
    shift_M = np.diag(found.effect_MK)
    mu = float(shift_M.mean()) / found.deviation if found.deviation > 0 else math.inf
    variance = float(np.mean(found.spread_M**2)) / canaries
    standard_error = math.sqrt(variance + mu**2 / (2 * score_NK[:, :canaries].size))
    shift = float(shift_M.max()) / max_grad_norm
    return Told(mu, standard_error, 1 / noise_multiplier, shift, len(coin_NM))


def told_checks(found: Told) -> tuple[Check, Check]:
    """Hold what canaries showed against what was charged."""
    slack = CLIP_SLACK / (found.mu_claimed * math.sqrt(found.steps))
    return (
        Check(
            "telling apart",
            f"lower bound on μ of one unit in one step, from {found.steps} tosses a canary",
            found.mu_lower,
            "at most",
            LEEWAY * found.mu_claimed,
            "a unit can be told better than was charged",
        ),
        Check(
            "clipping",
            "furthest that one unit moves the sum, in clipping norms",
            found.shift,
            "at most",
            1 + slack,
            "a unit moves the sum by more than the clipping norm",
        ),
    )


def carry_check(score_NK: Matrix, coin_NM: Coins) -> Check:
    """Look for what a canary leaves behind in the step after it.

    Args:
        score_NK: what each step released, along orthonormal directions; with little noise.
        coin_NM: which canary joined which step.
    """
    canaries = coin_NM.shape[1]
    found = fit(score_NK[1:], np.hstack([coin_NM[1:], coin_NM[:-1]]))
    errors_MK = found.deviation * found.spread_M[canaries:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        z_MK = np.abs(found.effect_MK[canaries:]) / errors_MK
    return Check(
        "carry-over",
        "most that a unit of one step moves the step after it, in standard errors",
        float(z_MK.max()) if found.deviation > 0 else math.inf,
        "at most",
        PAIR_LIMIT_Z,
        "a step knows who was in the one before",
    )


def steps_needed(noise_multiplier: float, canaries: int) -> int:
    """Return how many steps find half the noise and doubled clipping with near certainty."""
    return max(LEAST_STEPS, math.ceil((300 + 300 * noise_multiplier**2) / canaries))


def fit(score_NK: Matrix, coin_NM: Coins) -> Fit:
    """Fit scores by coins, by least squares.

    Raises:
        ConfigError: too few steps for that many coins, or a coin that never changed.
    """
    design = np.hstack([np.ones((len(coin_NM), 1)), coin_NM.astype(np.float64)])
    spare = len(design) - design.shape[1]
    if spare < 2 or np.linalg.matrix_rank(design) < design.shape[1]:
        raise ConfigError(
            f"an audit of {coin_NM.shape[1]} coins needs more than {len(design)} steps; "
            "raise --repetitions"
        )
    inverse = np.linalg.inv(design.T @ design)
    effect = inverse @ design.T @ score_NK
    rest = score_NK - design @ effect
    deviation = math.sqrt(float((rest**2).sum()) / (spare * score_NK.shape[1]))
    return Fit(effect[1:], deviation, np.sqrt(np.diag(inverse))[1:])
