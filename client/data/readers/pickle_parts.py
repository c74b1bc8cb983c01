"""What a pickle of arrays may be made of: an array's parts, checked one by one."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Plain = Any
DTYPE = re.compile(r"[<>|=]?([biuf])([1248])")
MOST_AXES = 8
MOST_DEPTH = 32


class Refused(Exception):
    """A stream asks for what is not read; the reader says so with the file's name."""


@dataclass(frozen=True)
class Named:
    """A name that a stream mentions and that is known; it is never imported."""

    module: str
    name: str


@dataclass
class DtypeParts:
    """A type of numbers on its way: spelled first, its byte order later."""

    spec: str
    order: str = "|"

    def build(self, state: object) -> None:
        """Take the byte order; anything that would make it more than a number is refused."""
        if not isinstance(state, tuple) or len(state) < 2 or any(state[2:5]):
            raise Refused("a type that is no plain number")
        order = text_of(state[1])
        if order not in ("<", ">", "|", "="):
            raise Refused("a byte order that is not known")
        self.order = order

    def dtype(self) -> np.dtype[Any]:
        """Return the type: a whole number, a float or a truth value of at most 8 bytes."""
        return np.dtype(self.order.replace("|", "<") + self.spec)


@dataclass
class ArrayParts:
    """An array on its way: nothing until its state comes."""

    values: npt.NDArray[Any] | None = None

    def build(self, state: object) -> None:
        """Take version, shape, type, order and content; they have to fit each other."""
        if not isinstance(state, tuple) or len(state) not in (4, 5) or self.values is not None:
            raise Refused("an array that is not as numpy writes it")
        shape, dtype, fortran, content = state[-4:]
        if not isinstance(dtype, DtypeParts):
            raise Refused("an array of something other than numbers")
        data = bytes_of(content)
        kind, count = dtype.dtype(), _count(shape)
        if count * kind.itemsize != len(data):
            raise Refused(f"an array of {count} numbers with {len(data)} bytes")
        flat = np.frombuffer(data, dtype=kind)
        self.values = flat.reshape(shape, order="F" if fortran is True or fortran == 1 else "C")


def _count(shape: object) -> int:
    if not isinstance(shape, tuple) or len(shape) > MOST_AXES:
        raise Refused("an array whose shape is none")
    if not all(type(n) is int and n >= 0 for n in shape):
        raise Refused("an array whose shape is none")
    return math.prod(shape)


def _reconstruct(args: tuple[Any, ...]) -> ArrayParts:
    fits = len(args) == 3 and args[0] == Named("numpy", "ndarray") and args[1] in ((0,), ())
    if not fits:
        raise Refused("an array of a class that is not numpy's own")
    return ArrayParts()


def _dtype(args: tuple[Any, ...]) -> DtypeParts:
    match = DTYPE.fullmatch(text_of(args[0])) if args else None
    if match is None:
        raise Refused("an array of something other than numbers")
    return DtypeParts(match.group(1) + match.group(2))


def _scalar(args: tuple[Any, ...]) -> object:
    if len(args) != 2 or not isinstance(args[0], DtypeParts):
        raise Refused("a number of an unknown type")
    kind, data = args[0].dtype(), bytes_of(args[1])
    if len(data) != kind.itemsize:
        raise Refused("a number whose bytes do not fit its type")
    return np.frombuffer(data, dtype=kind)[0].item()


def _encode(args: tuple[Any, ...]) -> bytes:
    if len(args) != 2 or not isinstance(args[0], str) or text_of(args[1]) != "latin1":
        raise Refused("text in an encoding that arrays do not use")
    return bytes_of(args[0])


CALLS: Mapping[Named, Callable[[tuple[Any, ...]], object]] = {
    Named("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    Named("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    Named("numpy.core.multiarray", "scalar"): _scalar,
    Named("numpy._core.multiarray", "scalar"): _scalar,
    Named("numpy", "dtype"): _dtype,
    Named("_codecs", "encode"): _encode,
}
"""What a stream may call, and what is called in its place."""

KNOWN = {*CALLS, Named("numpy", "ndarray")}


def text_of(value: object) -> str:
    """Return text, also that of Python 2.

    Raises:
        Refused: when it is none.
    """
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    raise Refused("something else where a word was expected")


def bytes_of(value: object) -> bytes:
    """Return the bytes of an array's content.

    Raises:
        Refused: when it is something else, such as a list of objects.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError:
            raise Refused("an array whose content is no bytes") from None
    raise Refused("an array of objects")


def plain(value: object) -> Plain:
    """Return what a machine built without its parts; arrays whole, bytes as text.

    Raises:
        Refused: when something holds itself, is nested deeply, or is an array without content.
    """
    return _plain(value, {}, 0)


def _plain(value: object, done: dict[int, Plain], depth: int) -> Plain:
    if depth > MOST_DEPTH:
        raise Refused("nested too deeply")
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, ArrayParts):
        if value.values is None:
            raise Refused("an array without content")
        return value.values
    if isinstance(value, DtypeParts | Named):
        raise Refused("something other than arrays, numbers and text")
    if not isinstance(value, list | tuple | dict):
        return value
    if id(value) not in done:
        done[id(value)] = None
        done[id(value)] = _inner(value, done, depth + 1)
    if done[id(value)] is None:
        raise Refused("something that holds itself")
    return done[id(value)]


def _inner(
    value: list[Any] | tuple[Any, ...] | dict[Any, Any], done: dict[int, Plain], depth: int
) -> Plain:
    if isinstance(value, dict):
        return {_plain(k, done, depth): _plain(v, done, depth) for k, v in value.items()}
    return type(value)(_plain(item, done, depth) for item in value)
