"""Empirical checks of a site's real DP step: statistics over what was released.

An audit passes on a sound build and fails on a broken one; it proves no ε. The steps are run
by the caller through the very code that trains, each with a noise stream opened as in a new
round, so that a seeded generator shows.
"""

from common.privacy.audit.canaries import (
    Coins,
    Matrix,
    Told,
    carry_check,
    steps_needed,
    told,
    told_checks,
)
from common.privacy.audit.check import Check
from common.privacy.audit.noise import STEPS, noise_checks
from common.privacy.audit.sampling import sampling_checks

__all__ = [
    "STEPS",
    "Check",
    "Coins",
    "Matrix",
    "Told",
    "carry_check",
    "noise_checks",
    "sampling_checks",
    "steps_needed",
    "told",
    "told_checks",
]
