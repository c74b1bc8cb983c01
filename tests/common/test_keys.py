"""Key files: for their owner alone, never overwritten, never guessed."""

import os

import pytest

from common.errors import ConfigError
from common.keys import new_identity, read_identity, read_roster, write_identity, write_roster


def test_a_key_is_written_for_its_owner_alone_and_reads_back(tmp_path):
    made = new_identity("hill")
    before = os.umask(0)
    try:
        write_identity(tmp_path / "key", made)
    finally:
        os.umask(before)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert read_identity(tmp_path / "key", "hill").public_key == made.public_key


def test_two_keys_are_never_equal():
    assert len({new_identity("hill").private_key for _ in range(20)}) == 20


def test_a_key_is_never_overwritten(tmp_path):
    write_identity(tmp_path / "key", new_identity("hill"))
    kept = (tmp_path / "key").read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        write_identity(tmp_path / "key", new_identity("hill"))
    assert (tmp_path / "key").read_bytes() == kept


def test_a_key_is_not_in_its_own_repr():
    made = new_identity("hill")
    assert made.private_key.hex() not in repr(made)
    assert repr(made.private_key) not in repr(made)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601])
def test_a_key_that_others_can_reach_is_refused(tmp_path, mode):
    write_identity(tmp_path / "key", new_identity("hill"))
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match="0600"):
        read_identity(tmp_path / "key", "hill")


@pytest.mark.parametrize("text", [b"", b"abc", b"00" * 31, b"00" * 33, b"zz" * 32, b"\xff" * 64])
def test_what_is_no_key_is_refused_without_repeating_it(tmp_path, text):
    path = tmp_path / "key"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="64 hexadecimal digits") as error:
        read_identity(path, "hill")
    assert not text or text.decode("latin-1") not in str(error.value).replace(str(path), "")


def test_a_key_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_identity(tmp_path / "key", "hill")


def test_a_roster_reads_back(tmp_path):
    keys = {name: new_identity(name).public_key for name in ("lake", "hill", "mill")}
    write_roster(tmp_path / "roster.json", keys)
    assert dict(read_roster(tmp_path / "roster.json")) == keys


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"sites": []}', '{"sites": {"a": 3}}', '{"sites": {"a": "xyz"}}', "\x00"],
)
def test_what_is_no_roster_is_refused(tmp_path, text):
    (tmp_path / "roster.json").write_text(text)
    with pytest.raises(ConfigError, match=r"roster\.json"):
        read_roster(tmp_path / "roster.json")


def test_a_roster_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_roster(tmp_path / "roster.json")
