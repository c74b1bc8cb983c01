import io
import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.data.readers.plain_pickle import read_plain_pickle
from common.errors import DataError

TREE = {
    "signal": {"chest": {"ECG": np.arange(6.0).reshape(6, 1)}, "wrist": [np.arange(4, dtype="i4")]},
    "label": np.array([0, 1, 2, 1], dtype=np.int8),
    "subject": "S2",
    "rate": 700,
    "mean": np.float64(1.5),
    "big": -(1 << 40),
    "flags": (True, False, None, 2.5),
}


@pytest.fixture
def read(tmp_path):
    """Write bytes to a file and read them as a pickle of arrays."""

    def run(content, **options):
        path = tmp_path / "S2.pkl"
        path.write_bytes(content)
        return read_plain_pickle(path, **options)

    return run


def python2(array):
    """A pickle as Python 2 wrote WESAD's: protocol 0, content as quoted text."""
    quoted = "".join(f"\\x{byte:02x}" for byte in array.tobytes())
    shape = "".join(f"I{n}\n" for n in array.shape)
    kind = array.dtype.str[1:]
    return (
        "(dp0\nS'label'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n"
        "(I0\ntp4\nS'b'\np5\ntp6\nRp7\n(I1\n("
        f"{shape}tp8\ncnumpy\ndtype\np9\n(S'{kind}'\np10\nI0\nI1\ntp11\nRp12\n"
        "(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\n"
        f"S'{quoted}'\np15\ntp16\nbsS'subject'\np17\nS'S2'\np18\ns."
    ).encode("ascii")


@pytest.mark.parametrize("protocol", range(5))
def test_arrays_numbers_and_text_of_every_protocol(read, protocol):
    found = read(pickle.dumps(TREE, protocol))
    np.testing.assert_array_equal(found["signal"]["chest"]["ECG"], TREE["signal"]["chest"]["ECG"])
    np.testing.assert_array_equal(found["signal"]["wrist"][0], np.arange(4))
    assert found["label"].dtype == np.int8
    assert {k: found[k] for k in ("subject", "rate", "mean", "big", "flags")} == {
        k: TREE[k] for k in ("subject", "rate", "mean", "big", "flags")
    }


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "i2", "u1", "b1"])
def test_pickles_of_python_2(read, dtype):
    array = np.array([[0, 1], [1, 0], [1, 1]], dtype=dtype)
    content = python2(array)
    np.testing.assert_array_equal(read(content)["label"], array)
    assert pickle.loads(content, encoding="latin1")["subject"] == read(content)["subject"]


def test_order_of_memory_and_of_bytes_is_kept(read):
    for array in (np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(3, dtype=">i4")):
        np.testing.assert_array_equal(read(pickle.dumps(array, 2)), array)


class Evil:
    """Pickles to a call."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


class Sub(np.ndarray):
    pass


def harmful(tmp_path):
    """What would leave a file behind if any of it ran."""
    order = f"touch {tmp_path}/ran"
    python = f"open({str(tmp_path / 'ran')!r}, 'w')"
    evil = Evil(os.system, order)
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n"
    return {
        "os.system": pickle.dumps(evil),
        "builtins.eval": pickle.dumps(Evil(eval, python)),
        "builtins.exec": pickle.dumps(Evil(exec, python), 0),
        "builtins.open": pickle.dumps(Evil(open, str(tmp_path / "ran"), "w")),
        "nested": pickle.dumps({"signal": {"chest": [(1, evil)]}}, 2),
        "as a key": pickle.dumps({"x": 1}, 0)[:-1] + pickle.dumps(evil, 0),
        "array of objects": pickle.dumps(np.array([evil], dtype=object), 2),
        "structured with objects": pickle.dumps(
            np.array([(1, evil)], dtype=[("a", "i4"), ("b", "O")]), 2
        ),
        "subclass": pickle.dumps(np.arange(3).view(Sub), 2),
        "record": pickle.dumps(np.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")]), 2),
        "scalar of objects": pickle.dumps(Evil(np.array([evil], dtype=object).item, 0), 4),
        "_reconstruct of something else": reconstruct + b"(cos\nsystem\n(I0\ntS'b'\ntR.",
        "_reconstruct with a shape": reconstruct + b"(cnumpy\nndarray\n(I999999999\ntS'b'\ntR.",
        "numpy.ndarray called": b"cnumpy\nndarray\n((I9\ntS'f8'\ntR.",
        "numpy.load": b"cnumpy\nload\n(S'x.npy'\nI00\nI01\ntR.",
        "state onto a name": b"cnumpy\nndarray\n}S'__reduce__'\nI1\nsb.",
        "state onto a function": b"cnumpy\ndtype\n}S'__call__'\nI1\nsb.",
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x10core.os.system_x\x93.",
        "persistent id": b"Pevil\n.",
        "extension": b"\x80\x02\x82\x01.",
        "inst": b"(S'touch ran'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'touch ran'\no.",
        "newobj": b"\x80\x02cos\nsystem\n(S'touch ran'\nt\x81.",
        "set": pickle.dumps({1, 2}, 4),
        "bytearray": pickle.dumps(bytearray(b"abc"), 5),
        "complex dtype": pickle.dumps(np.zeros(2, complex), 2),
        "object dtype alone": pickle.dumps(np.dtype("O"), 2),
        "a name alone": b"cnumpy\nndarray\n.",
        "an array without content": reconstruct + b"(cnumpy\nndarray\n(I0\ntS'b'\ntR.",
        "codec": b"c_codecs\nencode\n(S'x'\nS'zlib'\ntR.",
    }


@pytest.mark.parametrize("name", sorted(harmful(__import__("pathlib").Path())))
def test_nothing_of_a_harmful_pickle_runs(read, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"^S2.pkl: "):
        read(harmful(tmp_path)[name])
    assert not (tmp_path / "ran").exists()


def test_the_refusal_says_what_was_asked_for(read):
    with pytest.raises(DataError, match=r"S2.pkl: asks for posix.system; only arrays of numbers"):
        read(pickle.dumps(Evil(os.system, "true")))


def test_pythons_own_unpickler_would_have_run_it(tmp_path):
    pickle.loads(harmful(tmp_path)["os.system"])
    assert (tmp_path / "ran").exists()


def wide(opcode, layout, count):
    return opcode + struct.pack(layout, count) + b"x."


@pytest.mark.parametrize(
    "content",
    [
        wide(b"\x8e", "<Q", 1 << 60),
        wide(b"\x8d", "<Q", 1 << 40),
        wide(b"B", "<I", 0xFFFFFFFF),
        wide(b"X", "<I", 0xFFFFFFFF),
        wide(b"T", "<i", -5),
        b"N" + wide(b"r", "<I", 0xFFFFFFFE),
        b"Np99999999999\n.",
        b"I" + b"9" * 100_000 + b"\n.",
        b"L" + b"9" * 100_000 + b"L\n.",
        b"\x8b" + struct.pack("<i", 1 << 30) + b".",
        b"(" * 2_000_000 + b".",
        b"]q\x00h\x00a.",
        b"]" + b"]" * 200 + b"a" * 200 + b".",
        python2(np.arange(4)).replace(b"I4\n", b"I4000000000000\n"),
        python2(np.arange(4)).replace(b"(I4\ntp8", b"(I-4\ntp8"),
    ],
    ids=range(15),
)
def test_memory_is_bounded_by_what_the_file_holds(read, content):
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 1 << 26
    finally:
        tracemalloc.stop()


def test_shared_lists_do_not_multiply(read):
    tree = [0.5]
    for _ in range(30):
        tree = [tree] * 10
    found = read(pickle.dumps(tree))
    assert found[0] is found[9]


def test_sizes_are_bounded(read):
    with pytest.raises(DataError, match="at most"):
        read(pickle.dumps(TREE), most_bytes=10)
    with pytest.raises(DataError, match="the file is empty"):
        read(b"")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 4), st.data())
def test_damaged_pickles_end_in_one_clear_error(tmp_path_factory, protocol, data):
    content = bytearray(pickle.dumps(TREE, protocol))
    cut = data.draw(st.integers(1, len(content)))
    place, byte = data.draw(st.integers(0, cut - 1)), data.draw(st.integers(0, 255))
    content[place] = byte
    path = tmp_path_factory.mktemp("p") / "x.pkl"
    path.write_bytes(bytes(content[:cut]))
    said = ""
    try:
        only_plain(read_plain_pickle(path))
    except DataError as error:
        said = str(error)
    assert said == "" or said.startswith("x.pkl: ")


def only_plain(found):
    """Numbers, text and arrays of numbers, in lists, tuples and mappings: nothing else."""
    if isinstance(found, dict):
        found = [*found.keys(), *found.values()]
    if isinstance(found, list | tuple | set | frozenset):
        for one in found:
            only_plain(one)
    else:
        assert isinstance(
            found, str | bytes | int | float | complex | None | np.ndarray | np.generic
        )


def test_golden_protocol_0_is_read_as_python_reads_it(read):
    file = io.BytesIO(python2(np.array([1.5, np.nan, -2.0])))
    expected = pickle.load(file, encoding="latin1")["label"]
    np.testing.assert_array_equal(read(file.getvalue())["label"], expected)
