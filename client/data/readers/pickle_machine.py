"""The operations of a pickle of arrays: a stack, a memory, and a closed table of what is done."""

import codecs
import struct
from collections.abc import Callable, Mapping
from typing import IO, Any

from client.data.readers.pickle_parts import CALLS, KNOWN, ArrayParts, DtypeParts, Named, Refused

MOST_OPERATIONS = 1_000_000
MOST_CELLS = 1_000_000
MOST_LINE_BYTES = 1 << 31
MOST_DIGITS = 32
HIGHEST_PROTOCOL = 4
MARK = object()


class Machine:
    """Runs one stream; what it cannot do is not in its table.

    Args:
        file: the stream, at its start.
        size_bytes: of the whole file; nothing longer than what is left is ever asked for.
    """

    def __init__(self, file: IO[bytes], size_bytes: int) -> None:
        self._file = file
        self._left = size_bytes
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def run(self) -> object:
        """Return what the stream builds.

        Raises:
            Refused: saying what it asked for.
        """
        for _ in range(MOST_OPERATIONS):
            operation = self.read(1)
            if operation == b".":
                return self.pop()
            if operation not in OPERATIONS:
                raise Refused(f"asks for operation {operation!r}, which arrays do not need")
            try:
                OPERATIONS[operation](self)
            except (ValueError, TypeError, struct.error):
                raise Refused("a damaged pickle") from None
        raise Refused(f"more than {MOST_OPERATIONS} operations")

    def read(self, count: int) -> bytes:
        """Return the next bytes, which have to be there."""
        if not 0 <= count <= self._left:
            raise Refused("truncated, or it announces more than it holds")
        self._left -= count
        data = self._file.read(count)
        if len(data) != count:
            raise Refused("truncated")
        return data

    def line(self) -> bytes:
        """Return the text up to the end of the line."""
        data = self._file.readline(min(self._left, MOST_LINE_BYTES))
        self._left -= len(data)
        if not data.endswith(b"\n"):
            raise Refused("truncated")
        return data[:-1]

    def number(self, layout: str) -> int:
        """Return a number of a fixed layout."""
        return int(struct.unpack(layout, self.read(struct.calcsize(layout)))[0])

    def pop(self) -> Any:
        """Return the topmost value."""
        if not self.stack or self.stack[-1] is MARK:
            raise Refused("a damaged pickle: nothing to take")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        """Return the topmost value, which stays, and has to be of a kind."""
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise Refused("something other than arrays, numbers and text")
        return self.stack[-1]

    def to_mark(self) -> list[Any]:
        """Return the values above the last mark, and take the mark away."""
        taken: list[Any] = []
        while self.stack and self.stack[-1] is not MARK:
            taken.append(self.stack.pop())
        if not self.stack:
            raise Refused("a damaged pickle: no mark")
        self.stack.pop()
        return taken[::-1]

    def keep(self, cell: int) -> None:
        """Remember the topmost value."""
        if not 0 <= cell < MOST_CELLS:
            raise Refused(f"memory cell {cell}")
        self.memory[cell] = self.pop()
        self.stack.append(self.memory[cell])

    def recall(self, cell: int) -> None:
        """Put a remembered value on the stack."""
        if cell not in self.memory:
            raise Refused("a damaged pickle: nothing remembered")
        self.stack.append(self.memory[cell])


def _protocol(machine: Machine) -> None:
    if machine.read(1)[0] > HIGHEST_PROTOCOL:
        raise Refused("a protocol above 4")


def _digits(machine: Machine) -> int:
    text = machine.line()
    if len(text) > MOST_DIGITS:
        raise Refused("a whole number of very many digits")
    return int(text.rstrip(b"L"))


def _int_line(machine: Machine) -> None:
    text = machine.line()
    if text in (b"00", b"01"):
        machine.stack.append(text == b"01")
    elif len(text) > MOST_DIGITS:
        raise Refused("a whole number of very many digits")
    else:
        machine.stack.append(int(text))


def _long1(machine: Machine) -> None:
    machine.stack.append(int.from_bytes(machine.read(machine.read(1)[0]), "little", signed=True))


def _float_line(machine: Machine) -> None:
    machine.stack.append(float(machine.line()[:400]))


def _string_line(machine: Machine) -> None:
    text = machine.line().strip()
    if len(text) < 2 or text[:1] not in b"'\"" or text[:1] != text[-1:]:
        raise Refused("a damaged pickle: text without quotes")
    machine.stack.append(codecs.escape_decode(text[1:-1])[0])


def _unicode_line(machine: Machine) -> None:
    machine.stack.append(machine.line().decode("raw-unicode-escape"))


def _bytes(layout: str) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(machine.read(machine.number(layout)))


def _text(layout: str) -> Callable[[Machine], None]:
    def push(machine: Machine) -> None:
        machine.stack.append(machine.read(machine.number(layout)).decode("utf-8", "surrogatepass"))

    return push


def _name(machine: Machine, module: str, name: str) -> None:
    found = Named(module, name)
    if found not in KNOWN:
        raise Refused(f"asks for {module[:60]}.{name[:60]}; only arrays of numbers are read")
    machine.stack.append(found)


def _global_line(machine: Machine) -> None:
    module, name = machine.line(), machine.line()
    _name(machine, module.decode("utf-8"), name.decode("utf-8"))


def _global_stack(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if not (isinstance(name, str) and isinstance(module, str)):
        raise Refused("a name that is no text")
    _name(machine, module, name)


def _reduce(machine: Machine) -> None:
    args, function = machine.pop(), machine.pop()
    if not isinstance(function, Named) or function not in CALLS or not isinstance(args, tuple):
        raise Refused("asks to call something that makes no array of numbers")
    machine.stack.append(CALLS[function](args))


def _build(machine: Machine) -> None:
    state = machine.pop()
    part = machine.pop()
    if not isinstance(part, ArrayParts | DtypeParts):
        raise Refused("asks to change something that is no array")
    part.build(state)
    machine.stack.append(part)


def _tuple(count: int) -> Callable[[Machine], None]:
    def push(machine: Machine) -> None:
        taken = [machine.pop() for _ in range(count)]
        machine.stack.append(tuple(taken[::-1]))

    return push


def _put_items(machine: Machine, items: list[Any]) -> None:
    target = machine.top(dict)
    if len(items) % 2 or not all(isinstance(k, str | bytes | int | float) for k in items[::2]):
        raise Refused("a dict with keys that are neither text nor numbers")
    target.update(zip(items[::2], items[1::2], strict=True))


def _put_items_to_mark(machine: Machine) -> None:
    items = machine.to_mark()
    _put_items(machine, items)


def _set_item(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _put_items(machine, [key, value])


def _dict(machine: Machine) -> None:
    items = machine.to_mark()
    machine.stack.append({})
    _put_items(machine, items)


def _append(machine: Machine) -> None:
    value = machine.pop()
    machine.top(list).append(value)


def _extend(machine: Machine) -> None:
    values = machine.to_mark()
    machine.top(list).extend(values)


def _constant(value: object) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(value)


OPERATIONS: Mapping[bytes, Callable[[Machine], object]] = {
    b"\x80": _protocol,
    b"\x95": lambda m: m.read(8),
    b"(": _constant(MARK),
    b"0": lambda m: m.pop(),
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b"I": _int_line,
    b"L": lambda m: m.stack.append(_digits(m)),
    b"J": lambda m: m.stack.append(m.number("<i")),
    b"K": lambda m: m.stack.append(m.number("<B")),
    b"M": lambda m: m.stack.append(m.number("<H")),
    b"\x8a": _long1,
    b"F": _float_line,
    b"G": lambda m: m.stack.append(struct.unpack(">d", m.read(8))[0]),
    b"S": _string_line,
    b"T": _bytes("<i"),
    b"U": _bytes("<B"),
    b"B": _bytes("<I"),
    b"C": _bytes("<B"),
    b"\x8e": _bytes("<Q"),
    b"V": _unicode_line,
    b"X": _text("<I"),
    b"\x8c": _text("<B"),
    b"\x8d": _text("<Q"),
    b"c": _global_line,
    b"\x93": _global_stack,
    b"R": _reduce,
    b"b": _build,
    b")": _constant(()),
    b"t": lambda m: m.stack.append(tuple(m.to_mark())),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"]": lambda m: m.stack.append([]),
    b"l": lambda m: m.stack.append(m.to_mark()),
    b"a": _append,
    b"e": _extend,
    b"}": lambda m: m.stack.append({}),
    b"d": _dict,
    b"s": _set_item,
    b"u": _put_items_to_mark,
    b"p": lambda m: m.keep(_digits(m)),
    b"q": lambda m: m.keep(m.number("<B")),
    b"r": lambda m: m.keep(m.number("<I")),
    b"\x94": lambda m: m.keep(len(m.memory)),
    b"g": lambda m: m.recall(_digits(m)),
    b"h": lambda m: m.recall(m.number("<B")),
    b"j": lambda m: m.recall(m.number("<I")),
}
"""All that a stream can do."""
