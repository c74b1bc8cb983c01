"""Bundles: read and never run, compared file by file, listed by hash; bombs and lies refused."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from client.site import bundles
from client.site.bundles import (
    APPROVED,
    Bundle,
    Difference,
    approve,
    approved,
    differences,
    installed_files,
    is_approved,
    read_bundle,
)
from common.errors import ConfigError


def hashed(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_bundle_is_its_own_hash_and_those_of_its_files(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.fab", {"server/app.py": b"one", "folder/": b""})
    found = read_bundle(path)
    assert found == Bundle(hashed(path.read_bytes()), {"server/app.py": hashed(b"one")})


def test_another_byte_is_another_bundle(tmp_path: Path) -> None:
    one = read_bundle(zipped(tmp_path / "a.fab", {"a.py": b"x = 1"}))
    two = read_bundle(zipped(tmp_path / "b.fab", {"a.py": b"x = 2"}))
    assert one.sha256 != two.sha256
    assert differences(one.files, two.files) == (Difference("a.py", "changed"),)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04" + bytes(40)])
def test_what_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.fab").write_bytes(content)
    with pytest.raises(ConfigError, match="is not a bundle"):
        read_bundle(tmp_path / "a.fab")


def test_a_bundle_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_bundle(tmp_path / "a.fab")


def test_a_file_over_the_largest_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.fab").open("wb") as out:
        out.truncate(bundles.LARGEST_BUNDLE + 1)
    with pytest.raises(ConfigError, match="10 MiB"):
        read_bundle(tmp_path / "a.fab")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch) -> None:
    path = zipped(tmp_path / "a.fab", {"zeros.py": bytes(bundles.LARGEST_CONTENT + 1)})
    assert path.stat().st_size < bundles.LARGEST_BUNDLE
    monkeypatch.setattr(bundles, "_read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(ConfigError, match="unpacks to over 64 MiB"):
        read_bundle(path)


def test_a_zip_bomb_that_says_it_is_small_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.fab", {"zeros.py": bytes(1 << 20)})
    raw = path.read_bytes()
    path.write_bytes(raw.replace((1 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(ConfigError, match="is not a bundle"):
        read_bundle(path)


def test_differences_say_what_came_what_went_and_what_changed() -> None:
    old, new = {"a": "1", "b": "2", "c": "3"}, {"b": "2", "c": "4", "d": "5"}
    expected = [("a", "removed"), ("c", "changed"), ("d", "added")]
    assert [(one.path, one.change) for one in differences(old, new)] == expected
    assert differences(new, new) == ()


def test_only_files_of_the_installation_are_compared(tmp_path: Path) -> None:
    app = tmp_path / "app"
    (app / "server").mkdir(parents=True)
    (app / "server" / "app.py").write_bytes(b"here")
    (tmp_path / "secret.key").write_bytes(b"secret")
    (app / "link.py").symlink_to(tmp_path / "secret.key")
    names = ("server/app.py", "server", "../secret.key", str(tmp_path / "secret.key"), "link.py")
    assert installed_files(app, dict.fromkeys(names, "")) == {"server/app.py": hashed(b"here")}


def test_the_last_approved_stands_last_and_none_twice(tmp_path: Path) -> None:
    assert approved(tmp_path) == ()
    one, two = Bundle("a" * 64, {"x": "1"}), Bundle("b" * 64, {})
    for bundle in (one, two, one):
        approve(tmp_path, bundle)
    assert approved(tmp_path) == (two, one)
    assert is_approved(tmp_path, "a" * 64)
    assert not is_approved(tmp_path, "c" * 64)
    assert not is_approved(tmp_path, "a" * 63)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"approved": [{"sha256": "a"}]}'])
def test_a_damaged_list_approves_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / APPROVED).write_text(content)
    with pytest.raises(ConfigError, match="approve the bundle again"):
        is_approved(tmp_path, "a" * 64)


def test_the_list_is_plain_json(tmp_path: Path) -> None:
    approve(tmp_path, Bundle("a" * 64, {"x": "1"}))
    said = json.loads((tmp_path / APPROVED).read_text())
    assert said == {"version": 1, "approved": [{"sha256": "a" * 64, "files": {"x": "1"}}]}


def listing(files: dict[str, bytes]) -> bytes:
    """What Flower adds to a bundle: name, hash and bits of every other file."""
    lines = (f"{name},{hashed(content)},{8 * len(content)}" for name, content in files.items())
    return "\n".join(lines).encode()


FILES = {"pyproject.toml": b'[project]\nname = "tacit" # ours\n', "server/app.py": b"one"}


def test_what_flower_generates_is_no_difference(tmp_path: Path) -> None:
    rewritten = {**FILES, "pyproject.toml": b"[project]\nname='tacit'\n"}
    path = zipped(tmp_path / "a.fab", {**rewritten, ".info/CONTENT": listing(rewritten)})
    (tmp_path / "app" / "server").mkdir(parents=True)
    for name, content in FILES.items():
        (tmp_path / "app" / name).write_bytes(content)
    found = read_bundle(path).files
    assert differences(installed_files(tmp_path / "app", found), found) == ()


@pytest.mark.parametrize(
    "changed",
    [
        {"pyproject.toml": b'[project]\nname = "other"\n'},
        {"pyproject.toml": b"not = [toml"},
        {".info/CONTENT": listing(FILES) + b"\nand more"},
        {".info/CONTENT": listing({"server/app.py": b"one"})},
        {".info/CONTENT": listing({**FILES, "server/app.py": b"two"})},
        {".info/CONTENT": b"\xff\xfe"},
    ],
)
def test_anything_of_its_own_in_there_is_shown(tmp_path: Path, changed: dict[str, bytes]) -> None:
    plain = zipped(tmp_path / "a.fab", {**FILES, ".info/CONTENT": listing(FILES)})
    other = zipped(tmp_path / "b.fab", {**FILES, ".info/CONTENT": listing(FILES), **changed})
    shown = [d.path for d in differences(read_bundle(plain).files, read_bundle(other).files)]
    assert set(changed) <= set(shown)


def test_what_flower_generates_is_part_of_the_hash_that_is_approved(tmp_path: Path) -> None:
    one = read_bundle(zipped(tmp_path / "a.fab", FILES))
    two = read_bundle(zipped(tmp_path / "b.fab", {**FILES, ".info/CONTENT": listing(FILES)}))
    assert one.files == two.files
    assert one.sha256 != two.sha256


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.fab", "w") as archive:
        archive.writestr("server/app.py", b"what is shown")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("server/app.py", b"what is run")
    with pytest.raises(ConfigError, match="two files of one name"):
        read_bundle(tmp_path / "a.fab")
