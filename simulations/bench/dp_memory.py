"""How much memory a step takes at its peak, above what stands before it."""

import os
import tracemalloc
from collections.abc import Callable
from itertools import accumulate

from torch.profiler import ProfilerActivity, profile

QUIET = {"KINETO_LOG_LEVEL": "99"}
"""Torch's profiler says on standard error when it starts; it looks here at its first use."""


def peak_bytes(step: Callable[[], None]) -> int:
    """Return the largest sum of bytes that one step held at once.

    Torch's allocations are counted one by one by its profiler. Those of numpy, in which noise is
    made, come from tracemalloc in a second run; both peaks are added, as if they fell together.
    Parameters, data and whatever else stood before the step do not count.
    """
    return _of_torch(step) + _of_numpy(step)


def _of_torch(step: Callable[[], None]) -> int:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    results = found.profiler.kineto_results
    events = [event for event in results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    held = accumulate((int(event.nbytes()) for event in events), initial=0)
    return max(held)


def _of_numpy(step: Callable[[], None]) -> int:
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        step()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
