"""One canonical binary form for messages, states and whatever is hashed.

Every value has exactly one encoding: integers are big-endian and of fixed width, bytes
and texts carry their length, lists their count. A length is compared with its bound and
with the bytes that are really there before anything is allocated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from common.errors import ProtocolError

T = TypeVar("T")

Piece = bytes | memoryview

MOST_SITES = 16_384
MOST_NAME_BYTES = 64


class Reader:
    """A cursor over received bytes that never reads past their end."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.size = len(data)
        self.at = at

    @property
    def left(self) -> int:
        """How many bytes have not been read."""
        return self.size - self.at

    def take(self, size: int) -> bytes:
        """Return a copy of the next `size` bytes."""
        start, end = self.at, self.at + size
        if end > self.size:
            raise ProtocolError(f"{size} bytes were announced, {self.left} are left")
        self.at = end
        return self.data[start:end]

    def number(self, size: int) -> int:
        """Return the next big-endian unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def view(self, size: int) -> memoryview:
        """Return the next `size` bytes, without copying them."""
        if size > self.left:
            raise ProtocolError(f"{size} bytes were announced, {self.left} are left")
        self.at += size
        return memoryview(self.data)[self.at - size : self.at]


@dataclass(frozen=True)
class Codec(Generic[T]):
    """How one kind of value is written and read.

    Args:
        write: appends the encoding to a list of pieces.
        read: reads one value; raises ProtocolError for anything but its one encoding.
        least: fewest bytes that a value takes; bounds the count of a list.
    """

    write: Callable[[T, list[Piece]], None]
    read: Callable[[Reader], T]
    least: int

    def dump(self, value: T) -> bytes:
        """Return the encoding of `value`."""
        return b"".join(self.pieces(value))

    def pieces(self, value: T) -> list[Piece]:
        """Return the encoding of `value` as pieces that are yet to be joined."""
        out: list[Piece] = []
        self.write(value, out)
        return out

    def load(self, data: bytes | memoryview, at: int = 0) -> T:
        """Return the value that `data` encodes from byte `at` on.

        Raises:
            ProtocolError: it encodes none, or bytes are left over.
        """
        reader = Reader(data if isinstance(data, bytes) else bytes(data), at)
        value = self.read(reader)
        if reader.left:
            raise ProtocolError(f"{reader.left} bytes too many")
        return value


def unsigned(size: int) -> Codec[int]:
    """Return the codec of an unsigned integer of `size` bytes."""

    def write(value: int, out: list[Piece]) -> None:
        if not 0 <= value < 1 << 8 * size:
            raise ProtocolError(f"expected an integer of {size} bytes, got {value}")
        out.append(value.to_bytes(size, "big"))

    return Codec(write, lambda reader: reader.number(size), size)


def fixed(size: int) -> Codec[bytes]:
    """Return the codec of exactly `size` bytes."""

    def write(value: bytes, out: list[Piece]) -> None:
        if len(value) != size:
            raise ProtocolError(f"expected {size} bytes, got {len(value)}")
        out.append(value)

    return Codec(write, lambda reader: reader.take(size), size)


def blob(most: int) -> Codec[bytes]:
    """Return the codec of at most `most` bytes, their length before them."""

    def write(value: bytes, out: list[Piece]) -> None:
        if len(value) > most:
            raise ProtocolError(f"expected at most {most} bytes, got {len(value)}")
        out.append(len(value).to_bytes(4, "big") + value)

    def read(reader: Reader) -> bytes:
        start = reader.at + 4
        size = int.from_bytes(reader.data[reader.at : start], "big")
        if size > most or start + size > reader.size:
            return slow(reader)
        reader.at = start + size
        return reader.data[start : reader.at]

    def slow(reader: Reader) -> bytes:
        """Read what does not fit: say in which way."""
        size = reader.number(4)
        if size > most:
            raise ProtocolError(f"expected at most {most} bytes, {size} were announced")
        return reader.take(size)

    return Codec(write, read, 4)


def view(most: int) -> Codec[Piece]:
    """Return the codec of at most `most` bytes that are not copied when read.

    Three zero bytes and the length stand before them, so that as the first field of a
    message they start at its 16th byte, where 64-bit words are aligned.
    """

    def write(value: Piece, out: list[Piece]) -> None:
        out.append(before_view(len(value)))
        out.append(value)

    def read(reader: Reader) -> Piece:
        if reader.number(3):
            raise ProtocolError("expected zeros before a vector")
        size = reader.number(8)
        if size > most:
            raise ProtocolError(f"expected at most {most} bytes, {size} were announced")
        return reader.view(size)

    return Codec(write, read, 11)


def before_view(size_bytes: int) -> bytes:
    """Return what stands before a view of that size."""
    return bytes(3) + U64.dump(size_bytes)


def text(most: int) -> Codec[str]:
    """Return the codec of a text of at most `most` bytes of UTF-8."""
    raw = blob(most)

    def read(reader: Reader) -> str:
        try:
            return raw.read(reader).decode()
        except UnicodeDecodeError:
            raise ProtocolError("expected UTF-8 text") from None

    return Codec(lambda value, out: raw.write(value.encode(), out), read, 4)


def many(item: Codec[T], most: int) -> Codec[tuple[T, ...]]:
    """Return the codec of a list of at most `most` items, their count before them."""

    def write(values: Sequence[T], out: list[Piece]) -> None:
        if len(values) > most:
            raise ProtocolError(f"expected at most {most} items, got {len(values)}")
        out.append(len(values).to_bytes(4, "big"))
        for value in values:
            item.write(value, out)

    def read(reader: Reader) -> tuple[T, ...]:
        count = reader.number(4)
        if count > most or count * item.least > reader.left:
            raise ProtocolError(f"{count} items were announced, more than can follow")
        return tuple([item.read(reader) for _ in range(count)])

    return Codec(write, read, 4)


def many_fixed(size: int, most: int) -> Codec[tuple[bytes, ...]]:
    """Return many(fixed(size), most), which writes and reads all items at once."""

    def write(values: Sequence[bytes], out: list[Piece]) -> None:
        if len(values) > most or any(len(value) != size for value in values):
            raise ProtocolError(f"expected at most {most} items of {size} bytes")
        out.append(len(values).to_bytes(4, "big"))
        out.extend(values)

    def read(reader: Reader) -> tuple[bytes, ...]:
        count = reader.number(4)
        if count > most:
            raise ProtocolError(f"{count} items were announced, more than can follow")
        whole = reader.take(count * size)
        return tuple([whole[i : i + size] for i in range(0, len(whole), size)])

    return Codec(write, read, 4)


def optional(item: Codec[T]) -> Codec[T | None]:
    """Return the codec of a value that may be absent: one byte says which."""
    listed = many(item, 1)
    return Codec(
        lambda value, out: listed.write(() if value is None else (value,), out),
        lambda reader: next(iter(listed.read(reader)), None),
        4,
    )


def struct(cls: type[T], *codecs: Codec[Any]) -> Codec[T]:
    """Return the codec of a dataclass: its fields in order, each with its own codec."""
    names = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    if len(names) != len(codecs):
        raise TypeError(f"{cls.__name__} has {len(names)} fields, {len(codecs)} codecs were given")
    writes = [(name, codec.write) for name, codec in zip(names, codecs, strict=True)]

    def write(value: T, out: list[Piece]) -> None:
        for name, put in writes:
            put(getattr(value, name), out)

    reads = [codec.read for codec in codecs]

    def read(reader: Reader) -> T:
        return cls(*[read(reader) for read in reads])

    return Codec(write, read, sum(codec.least for codec in codecs))


U8, U16, U32, U64 = unsigned(1), unsigned(2), unsigned(4), unsigned(8)
HASH = fixed(32)
SECRET = fixed(32)
NAME = text(MOST_NAME_BYTES)
SIGNATURE = blob(64)
