import numpy as np
import pytest

from common import compiled as door
from common.compiled import compiled


def a_loop():
    """Return a loop of its own: how far one has gone is remembered for the process."""

    @compiled
    def doubled(words, out):
        """Double words mod 2^64."""
        for n in range(words.size):
            out[n] = words[n] + words[n]
        return words.size

    return doubled


def test_a_loop_is_python_until_compiling_pays(monkeypatch):
    monkeypatch.setattr(door, "PATIENCE", 10)
    loop, out = a_loop(), np.empty(4, np.uint64)
    for compiles in (False, False, True):
        loop(np.arange(4, dtype=np.uint64), out)
        assert ("machine" in vars(loop)) == compiles
        assert out.tolist() == [0, 2, 4, 6]


def test_a_long_array_is_not_walked_over_in_python():
    loop, words = a_loop(), np.arange(door.PATIENCE, dtype=np.uint64)
    assert loop(words, np.empty_like(words)) == words.size
    assert "machine" in vars(loop)


@pytest.mark.parametrize("way", ["python", "machine"])
def test_whole_numbers_wrap_without_a_word(way):
    out = np.empty(2, np.uint64)
    assert getattr(a_loop(), way)(np.array([1 << 63, 5], np.uint64), out) == 2
    assert out.tolist() == [0, 10]


def test_a_loop_says_what_it_is():
    assert a_loop().__doc__ == "Double words mod 2^64."
    assert a_loop().__name__ == "doubled"
