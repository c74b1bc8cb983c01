"""Loops over numbers as machine code: the one door to numba.

numpy walks over an array once for every operation; where that costs more than the work itself, a
loop says all of it at once and is compiled in the process that first calls it. Nothing is cached
on disk, so no code is read from files that somebody else may have written.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar, cast

Taken = ParamSpec("Taken")
Given = TypeVar("Given")


def compiled(loop: Callable[Taken, Given]) -> Callable[Taken, Given]:
    """Return a loop that is compiled when it is first called, once for each kind of arguments.

    The loop may use numbers, numpy arrays and what numba knows of numpy; it neither allocates nor
    raises, and other threads run meanwhile. Importing a module that has such loops costs nothing.

    Guarantees: the same results to the bit as the loop has in Python, on arrays whose numbers
    have one width: nothing is contracted, reordered or rounded otherwise.
    """

    @cache
    def built() -> Callable[Taken, Given]:
        from numba import njit  # noqa: PLC0415  (half a second, for who draws noise or masks)

        return cast(Callable[Taken, Given], njit(nogil=True, error_model="numpy")(loop))

    @wraps(loop)
    def call(*args: Any, **kwargs: Any) -> Given:
        return built()(*args, **kwargs)

    return cast(Callable[Taken, Given], call)
