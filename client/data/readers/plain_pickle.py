"""Pickles of numbers, read without unpickling: WESAD is published in no other form.

Nothing here is Python's pickle. The stream is read by a machine of its own that knows the few
operations of which a pickled array of numbers consists, calls nothing that a stream names, and
builds nothing but arrays and numbers, text, lists, tuples and dicts of them. A stream may mention
a handful of names; each stands for a function of pickle_parts, and is never imported. Anything
else ends in a DataError that says what was asked for.

Guarantees: no code runs but that of these three files; an array takes no more memory than the
bytes that the file holds for it; depth, number of operations and memory cells are bounded.

Source: the operations are those of pickle protocols 0 to 4, as PEP 307 and PEP 3154 describe them.
"""

from pathlib import Path

from client.data.readers.files import check_size
from client.data.readers.pickle_machine import Machine
from client.data.readers.pickle_parts import Plain, Refused, plain
from common.errors import DataError

MAX_PICKLE_BYTES = 3 << 30


def read_plain_pickle(path: Path, most_bytes: int = MAX_PICKLE_BYTES) -> Plain:
    """Return the numbers, text, lists, tuples, dicts and arrays of numbers of a pickle.

    Bytes, which is what text of Python 2 is, are returned as text, read as Latin-1.

    Raises:
        DataError: when it is damaged, too large, or asks for anything but arrays of numbers.
    """
    check_size(path, most_bytes)
    try:
        with path.open("rb") as file:
            return plain(Machine(file, path.stat().st_size).run())
    except Refused as refusal:
        raise DataError(f"{path.name}: {refusal}") from None
    except (OSError, MemoryError, RecursionError, OverflowError):
        raise DataError(f"{path.name}: not a readable pickle of arrays") from None
