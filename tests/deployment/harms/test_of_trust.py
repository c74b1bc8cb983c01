"""What goes wrong between site and coordinator: refused with a clear message, nothing lost."""

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.cards import read_coordinator_card
from server.coordinator.pki import (
    authority,
    certificate_from_pem,
    certificate_pem,
    key_from_pem,
    new_key,
    server_certificate,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_another_authority_is_refused(harmed) -> None:
    name, root = harmed.site(0)
    tacit, hub = harmed.federation.tacit, harmed.federation.hub
    log = root / "supernode.log"
    since = log.stat().st_size
    (root / "ca.crt").write_bytes(certificate_pem(authority("hub", new_key(), datetime.now(UTC))))
    try:
        harmed.start(root)
        told = harmed.found(tacit("site", "check", root, code=1), "coordinator")
        assert "is not the authority of the confirmed card" in told
        harmed.wait_for(log, "CERTIFICATE_VERIFY_FAILED.*unable to get local issuer", since)
    finally:
        print_ = read_coordinator_card(hub / "coordinator.json").roster_fingerprint
        tacit("site", "trust", root, hub / "coordinator.json", "--fingerprint", print_)
        harmed.start_well(root)
    harmed.add("wrong CA", f"{name}, site check, SuperNode", told, 1, harmed.verified(root))


def test_a_clock_that_is_an_hour_off_is_refused(harmed) -> None:
    name, root = harmed.site(0)
    library = harmed.federation.find_faketime()
    if library is None:
        pytest.skip("libfaketime is not installed here: apt-get install libfaketime")
    moved = {"LD_PRELOAD": library, "FAKETIME": "+1h"}
    try:
        harmed.start(root, moved)
        checked = harmed.federation.tacit("site", "check", root, code=1, environment=moved)
        told = harmed.found(checked, "coordinator")
        assert re.search(r"clock is \+36\d\d s from the coordinator's: set it", told)
        told += f"; {harmed.line_of(harmed.run('--wait-s', '45'), f'without {name}')}"
    finally:
        harmed.start_well(root)
    harmed.add("clock an hour off", f"{name}, site check", told, 1, harmed.verified(root))


def test_an_expired_certificate_is_refused_until_it_is_renewed(harmed) -> None:
    if not harmed.federation.has_proxy:
        pytest.skip("nginx is not installed here: apt-get install nginx")
    _, root = harmed.site(1)
    hub, tacit, log = harmed.federation.hub, harmed.federation.tacit, root / "supernode.log"
    since = log.stat().st_size
    (hub / "server.crt").write_bytes(expired(hub))
    try:
        harmed.federation.reload_proxy()
        harmed.wait_for(log, "certificate has expired", since)
        told = harmed.found(tacit("site", "check", root, code=1), "coordinator")
        assert "has expired: the coordinator has to renew it" in told
    finally:
        renewed = tacit("coordinator", "renew", hub)
        harmed.federation.reload_proxy()
    assert "is good until" in renewed
    harmed.add("expired certificate", "each SuperNode, site check", told, 1, harmed.verified(root))


def expired(hub: Path) -> bytes:
    """The server's certificate as it was before it ran out."""
    ca = certificate_from_pem((hub / "ca.crt").read_bytes())
    keys = [key_from_pem((hub / name).read_bytes()) for name in ("authority.key", "server.key")]
    begun = datetime.now(UTC) - timedelta(days=398)
    return certificate_pem(server_certificate(ca, *keys, "127.0.0.1", begun))


def test_a_site_that_nobody_enrolled_is_refused(harmed) -> None:
    federation, (_, known) = harmed.federation, harmed.site(1)
    root, tacit = federation.site("stranger"), federation.tacit
    federation.add_site("stranger")
    said = tacit("site", "trust", root, federation.hub / "coordinator.json", code=4)
    told = harmed.line_of(said, "has no site stranger. Send .*? to the coordinator")
    for name in ("coordinator.json", "roster.json", "ca.crt", "bundles.json"):
        shutil.copy(known / name, root / name)
    checked = tacit("site", "check", root, code=1)
    assert "hub has not enrolled this site under this key" in harmed.found(checked, "roster")
    harmed.start(root)
    try:
        harmed.wait_for(root / "supernode.log", "Exit Code: 305")
    finally:
        tacit("site", "stop", root)
    harmed.add("unregistered node", "site trust; SuperLink", told, 4, "no sum has heard of it")


def test_every_site_takes_part_again_and_no_spending_is_forgotten(harmed):
    assert harmed.run_of_all() == set(harmed.federation.names)
