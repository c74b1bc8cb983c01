"""What goes wrong at one site, or is asked of it: refused with a clear message, nothing lost."""

import re
import shutil
from pathlib import Path
from typing import IO

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_changed_run_config_is_refused_by_every_site(harmed) -> None:
    before = harmed.look()
    said = harmed.run("privacy.max_grad_norm=9", code=4)
    names = ", ".join(harmed.federation.names)
    told = harmed.line_of(said, f"{names} refused: the site's policy does not allow this")
    for name in harmed.federation.names:
        reason = harmed.last_reason(harmed.federation.site(name))
        assert f"The coordinator sets privacy.max_grad_norm; {name} leaves it" in reason
    assert harmed.look() == before
    harmed.add("changed run_config", "every site's policy", told, 4, "nothing was charged anywhere")


def test_a_bundle_that_one_site_has_not_approved_ends_the_run(harmed) -> None:
    (name, root), before = harmed.site(1), harmed.look()
    (root / "bundles.json").rename(root / "kept.json")
    try:
        said = harmed.run(code=4)
        told = harmed.line_of(
            said, r"A site has not approved the bundle of this run \(.*?\): send it"
        )
        assert not re.search(rf"\b{name}\b", told)
        assert "bundle refused" in harmed.last_reason(root)
        checked = harmed.federation.tacit("site", "check", root, code=1)
        assert "none approved, so that every run is refused" in harmed.found(checked, "bundles")
    finally:
        (root / "kept.json").rename(root / "bundles.json")
    assert harmed.look() == before
    harmed.add("unapproved bundle", f"{name}, its runner", told, 4, "nothing was charged anywhere")


def test_a_read_only_ledger_is_refused(harmed) -> None:
    name, root = harmed.site(1)
    ledger, tacit = root / "ledger.sqlite", harmed.federation.tacit
    ledger.chmod(0o400)
    try:
        said = harmed.run(code=3)
        told = harmed.line_of(said, f"{name} refused: the site's privacy ledger cannot be used")
        assert "read-only (mode 0400); chmod 600 it" in harmed.last_reason(root)
        checked = tacit("site", "check", root, code=1)
        assert "read-only (mode 0400); chmod 600 it" in harmed.found(checked, "ledger")
    finally:
        ledger.chmod(0o600)
    harmed.add("read-only ledger", f"{name}, its ledger", told, 3, harmed.verified(root))


def test_a_full_disk_is_refused(harmed) -> None:
    if harmed.disk:
        pytest.skip(harmed.disk)
    name, root = harmed.site(2)
    fill(root / "filler")
    try:
        said = harmed.run(code=3)
        told = harmed.line_of(said, f"{name} refused: the site's privacy ledger cannot be used")
        checked = harmed.federation.tacit("site", "check", root, code=1)
        assert "the disk is full" in harmed.found(checked, "disk")
    finally:
        (root / "filler").unlink()
    harmed.add("full disk", f"{name}, its ledger", told, 3, harmed.verified(root))


def fill(path: Path) -> None:
    """Write until the disk takes no more."""
    with path.open("wb", buffering=0) as out, pytest.raises(OSError, match="No space left"):
        write_for_ever(out)


def write_for_ever(out: IO[bytes]) -> None:
    while True:
        out.write(bytes(4096))


def test_an_older_copy_of_a_ledger_is_refused(harmed) -> None:
    name, root = harmed.site(3)
    tacit, aside = harmed.federation.tacit, root / "newest"
    # since the copy was made, the ledger has gone on
    assert harmed.run_of_all() == set(harmed.federation.names)
    aside.mkdir()
    for file in root.glob("ledger.sqlite*"):
        file.rename(aside / file.name)
    shutil.copy(harmed.older, root / "ledger.sqlite")
    (root / "ledger.sqlite").chmod(0o600)
    try:
        said = harmed.run(code=3)
        told = harmed.line_of(said, f"{name} refused: the site's privacy ledger cannot be used")
        assert "an older copy was put back" in harmed.last_reason(root)
        assert "older copy" in harmed.found(tacit("site", "check", root, code=1), "ledger")
        assert "not sound" in tacit("budget", "verify", root, code=3)
    finally:
        for file in (*root.glob("ledger.sqlite*"), *aside.iterdir()):
            file.unlink() if file.parent == root else file.rename(root / file.name)
    harmed.add("older copy of the ledger", f"{name}, its ledger", told, 3, harmed.verified(root))


def test_every_site_takes_part_again_and_no_spending_is_forgotten(harmed):
    assert harmed.run_of_all() == set(harmed.federation.names)
