"""Entries of the cache of features: private, whole or not there, and nobody else's."""

import os
import stat

import numpy as np
import pytest

from client.data.cache import load_cached, store_cached

KEY = "ab" * 32


def windows(*values):
    return {f"{v}.000000-end": np.full(3, v, dtype=np.float32) for v in values}


def kept(folder, key=KEY):
    return {name: value.tolist() for name, value in load_cached(folder, key, (3,)).items()}


def test_what_is_stored_is_found_again_and_may_grow(tmp_path):
    store_cached(tmp_path / "c", KEY, windows(1))
    store_cached(tmp_path / "c", KEY, windows(1, 2))
    assert kept(tmp_path / "c") == {"1.000000-end": [1] * 3, "2.000000-end": [2] * 3}
    assert load_cached(tmp_path / "c", KEY, (4,)) == {}
    assert kept(tmp_path / "c", "cd" * 32) == {}


def test_entries_are_their_owners_alone_whatever_was_left_behind(tmp_path):
    folder = tmp_path / "c" / KEY[:2]
    folder.mkdir(parents=True)
    old = folder / f"{KEY}.npz.{os.getpid()}.part"
    old.write_bytes(b"x" * 100_000)
    before = os.umask(0)
    try:
        store_cached(tmp_path / "c", KEY, windows(1))
        store_cached(tmp_path / "d", KEY, windows(1))
    finally:
        os.umask(before)
    for path in (tmp_path / "c" / "ab" / f"{KEY}.npz", tmp_path / "d" / "ab" / f"{KEY}.npz"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert stat.S_IMODE((tmp_path / "d" / "ab").stat().st_mode) == 0o700
    assert kept(tmp_path / "c") == kept(tmp_path / "d") == {"1.000000-end": [1] * 3}


def test_a_write_that_breaks_off_leaves_the_entry_as_it_was(tmp_path, monkeypatch):
    store_cached(tmp_path, KEY, windows(1))

    def interrupted(_from, _to):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store_cached(tmp_path, KEY, windows(1, 2))
    assert kept(tmp_path) == {"1.000000-end": [1] * 3}
    assert len(list((tmp_path / "ab").iterdir())) == 1


def test_a_link_in_the_way_is_not_written_through(tmp_path):
    folder = tmp_path / KEY[:2]
    folder.mkdir()
    (tmp_path / "victim").write_text("mine")
    (folder / f"{KEY}.npz.{os.getpid()}.part").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic"):
        store_cached(tmp_path, KEY, windows(1))
    assert (tmp_path / "victim").read_text() == "mine"
