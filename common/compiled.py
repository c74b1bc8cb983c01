"""Loops over numbers as machine code: the one door to numba.

numpy walks over an array once for every operation; where that costs more than the work itself, a
loop says all of it at once and is compiled in the process that calls it. Nothing is cached on
disk, so no code is read from files that somebody else may have written.
"""

from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, cast

import numpy as np

Taken = ParamSpec("Taken")
Given = TypeVar("Given")

PATIENCE = 1 << 15
"""Numbers that a loop goes over as Python before it is compiled: less than compiling takes."""


class Loop(Generic[Taken, Given]):
    """A loop that is Python for the first few numbers of a process, and machine code from then on.

    Args:
        loop: may use numbers, numpy arrays and what numba knows of numpy; it neither allocates
            nor raises, and other threads run meanwhile.

    Guarantees: the same results to the bit either way, on arrays whose numbers have one width:
    nothing is contracted, reordered or rounded otherwise. Whole numbers wrap without a word.
    """

    def __init__(self, loop: Callable[Taken, Given]) -> None:
        update_wrapper(self, loop)
        self._loop = loop
        self._left = PATIENCE

    def __call__(self, *args: Taken.args, **kwargs: Taken.kwargs) -> Given:
        """Run the loop."""
        if self._left > 0:
            self._left -= max(np.size(cast(Any, arg)) for arg in args)
            if self._left > 0:
                return self.python(*args, **kwargs)
        return self.machine(*args, **kwargs)

    def python(self, *args: Taken.args, **kwargs: Taken.kwargs) -> Given:
        """Run the loop as Python."""
        with np.errstate(all="ignore"):
            return self._loop(*args, **kwargs)

    @cached_property
    def machine(self) -> Callable[Taken, Given]:
        """The loop as machine code, compiled when first called, once for each kind of arguments."""
        from numba import njit  # noqa: PLC0415  (half a second, for who draws noise or masks)

        return cast(Callable[Taken, Given], njit(nogil=True, error_model="numpy")(self._loop))


def compiled(loop: Callable[Taken, Given]) -> Loop[Taken, Given]:
    """Return a loop that is compiled once that pays; importing one costs nothing."""
    return Loop(cast(Any, loop))
