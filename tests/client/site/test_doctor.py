"""The doctor: each thing that can be wrong with a site is found, and says what to do."""

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

import client.site.doctor
from client.budget.places import one_place
from client.budget.verifying import verify
from client.site.bundles import Bundle, approve
from client.site.doctor import CHECKS, FULL_DISK_BYTES, Finding, examine
from client.site.folder import CARD, Wishes, init_site
from client.site.trust import offered_card, pin
from common.cards import CoordinatorCard, read_site_card, write_coordinator_card
from common.privacy.ledger import Head, Ledger
from common.secagg.channel import Identity
from common.witness import note_of
from server.coordinator.pki import (
    authority,
    certificate_pem,
    new_key,
    private_pem,
    server_certificate,
)

HUB = Identity("hub", b"h" * 32)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    init_site(tmp_path / "north", Wishes("north", 40, purposes=("research",), first_port=1))
    return tmp_path / "north"


def found(root: Path) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine(root)}


def trust(root: Path, address: str, ca_certificate: str) -> None:
    own = read_site_card(root / CARD).identity_key
    sites = {"north": own, "south": b"s" * 32, "east": b"e" * 32}
    card = CoordinatorCard("hub", address, HUB.public_key, ca_certificate, 1, sites)
    path = root.parent / "hub.json"
    write_coordinator_card(path, card, HUB)
    pin(root, offered_card(root, path), path)


Serve = Callable[..., tuple[str, str]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start an HTTPS server; returns its address and its authority's certificate."""
    servers: list[HTTPServer] = []

    def start(ahead: timedelta = timedelta(), since: timedelta = timedelta()) -> tuple[str, str]:
        class Clock(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response(404)
                self.end_headers()

            def date_time_string(self, timestamp: float | None = None) -> str:
                shown = datetime.now(UTC) + ahead
                return super().date_time_string(shown.timestamp())

            def log_message(self, *_: object) -> None:
                pass

        begin = datetime.now(UTC) - since
        ca_key, key = new_key(), new_key()
        ca = authority("hub", ca_key, begin)
        (tmp_path / "crt").write_bytes(
            certificate_pem(server_certificate(ca, ca_key, key, "localhost", begin))
        )
        (tmp_path / "key").write_bytes(private_pem(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
        server = HTTPServer(("127.0.0.1", 0), Clock)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"127.0.0.1:{server.server_port}", certificate_pem(ca).decode()

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_new_site_says_what_is_left_to_do(site: Path) -> None:
    findings = found(site)
    assert set(findings) == set(CHECKS)
    wrong = {what for what, finding in findings.items() if finding.state == "wrong"}
    assert wrong == {"roster", "bundles", "coordinator"}
    assert "tacit site trust" in findings["roster"].said
    assert "tacit site approve" in findings["bundles"].said
    assert "tacit site start" in findings["runner"].said


def test_a_site_that_is_set_up_has_nothing_wrong(site: Path, serve: Serve) -> None:
    trust(site, *serve())
    approve(site, Bundle("a" * 64, {}))
    findings = found(site)
    assert [f for f in findings.values() if f.state == "wrong"] == []
    assert findings["coordinator"].state == "fine"


@pytest.mark.parametrize("name", ["identity.key", "supernode.key", "runtime.secret"])
def test_a_key_that_others_can_read_is_wrong(site: Path, name: str) -> None:
    (site / name).chmod(0o640)
    finding = found(site)["keys"]
    assert finding.state == "wrong"
    assert f"{name} has mode 0640: chmod 600" in finding.said


@pytest.mark.parametrize("name", ["identity.key", "supernode.key", "card.json"])
def test_a_missing_key_or_card_is_wrong(site: Path, name: str) -> None:
    (site / name).unlink()
    finding = found(site)["keys"]
    assert finding.state == "wrong"
    assert name in finding.said


def test_keys_of_another_site_are_wrong(site: Path) -> None:
    init_site(site.parent / "other", Wishes("north", 40))
    (site.parent / "other" / "identity.key").replace(site / "identity.key")
    assert "not of these keys" in found(site)["keys"].said


def test_an_edited_roster_is_wrong(site: Path, serve: Serve) -> None:
    trust(site, *serve())
    roster = json.loads((site / "roster.json").read_text())
    roster["sites"]["south"] = "66" * 32
    (site / "roster.json").write_text(json.dumps(roster))
    finding = found(site)["roster"]
    assert finding.state == "wrong"
    assert "not that of the confirmed card" in finding.said


def test_a_policy_that_does_not_fit_names_the_line(site: Path) -> None:
    policy = site / "policy.yaml"
    policy.write_text(policy.read_text().replace("max_epsilon: 8", "max_epsilon: lots"))
    finding = found(site)["policy"]
    assert finding.state == "wrong"
    assert "policy.yaml, line " in finding.said


def test_another_authority_is_wrong(site: Path, serve: Serve) -> None:
    address, _ = serve()
    _, other = serve()
    trust(site, address, other)
    finding = found(site)["coordinator"]
    assert finding.state == "wrong"
    assert "authority" in finding.said


def test_an_authority_that_was_put_in_the_place_of_the_confirmed_one_is_wrong(
    site: Path, serve: Serve
) -> None:
    trust(site, *serve())
    _, other = serve()
    (site / "ca.crt").write_text(other)
    finding = found(site)["coordinator"]
    assert finding.state == "wrong"
    assert "ca.crt is not the authority of the confirmed card" in finding.said


@pytest.mark.parametrize(
    ("since", "says"),
    [(timedelta(days=400), "has expired"), (-timedelta(hours=3), "not valid yet")],
    ids=["expired", "of tomorrow"],
)
def test_a_certificate_of_another_time_is_wrong(
    site: Path, serve: Serve, since: timedelta, says: str
) -> None:
    trust(site, *serve(since=since))
    finding = found(site)["coordinator"]
    assert finding.state == "wrong"
    assert f"shows a certificate that {says}" in finding.said or f"that is {says}" in finding.said


def test_a_site_that_the_card_lacks_is_wrong(site: Path) -> None:
    others = {"south": b"s" * 32, "east": b"e" * 32}
    card = CoordinatorCard("hub", "127.0.0.1:1", HUB.public_key, "none", 1, others)
    write_coordinator_card(site.parent / "hub.json", card, HUB)
    pin(site, card, site.parent / "hub.json")
    finding = found(site)["roster"]
    assert finding.state == "wrong"
    assert "hub has not enrolled this site under this key: send" in finding.said


def test_a_full_disk_is_wrong(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = SimpleNamespace(free=FULL_DISK_BYTES - 1)
    monkeypatch.setattr(client.site.doctor.shutil, "disk_usage", lambda _: left)
    finding = found(site)["disk"]
    assert finding.state == "wrong"
    assert "the disk is full (15 MiB free)" in finding.said
    left.free = FULL_DISK_BYTES
    assert found(site)["disk"].state == "look"


def test_a_certificate_that_ends_soon_is_to_be_looked_at(site: Path, serve: Serve) -> None:
    trust(site, *serve(since=timedelta(days=390)))
    assert found(site)["coordinator"].state == "look"


def test_nobody_at_the_address_is_wrong(site: Path, serve: Serve) -> None:
    _, ca_certificate = serve()
    trust(site, "127.0.0.1:1", ca_certificate)
    finding = found(site)["coordinator"]
    assert finding.state == "wrong"
    assert "cannot be reached" in finding.said


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_moved_by_an_hour_is_wrong(site: Path, serve: Serve, hours: int) -> None:
    trust(site, *serve(ahead=timedelta(hours=hours)))
    finding = found(site)["coordinator"]
    assert finding.state == "wrong"
    assert "clock" in finding.said


def test_an_edited_audit_log_is_wrong(site: Path) -> None:
    (site / "audit.jsonl").write_text('{"number": 1}\n')
    assert found(site)["audit log"].state == "wrong"


def test_a_damaged_ledger_is_wrong(site: Path) -> None:
    (site / "ledger.sqlite").write_bytes(b"not a database" * 100)
    assert "ledger" in found(site)
    path = next(p for p in site.iterdir() if p.name.startswith("ledger"))
    assert path.name == "ledger.sqlite"
    assert found(site)["ledger"].state == "wrong"


@pytest.fixture
def spent(site: Path) -> Path:
    """A site that has shown its peers a head of its ledger."""
    with Ledger.open(site / "ledger.sqlite", site="north") as ledger:
        note = note_of(ledger.head()).hex()
    (site / "peers.json").write_text(json.dumps({"north": note}))
    assert found(site)["ledger"].state == "fine"
    return site


def test_a_read_only_ledger_is_wrong(spent: Path) -> None:
    (spent / "ledger.sqlite").chmod(0o400)
    finding = found(spent)["ledger"]
    assert finding.state == "wrong"
    assert "read-only (mode 0400); chmod 600 it" in finding.said


def test_a_ledger_that_lacks_the_head_that_was_shown_is_wrong(spent: Path) -> None:
    (spent / "peers.json").write_text(json.dumps({"north": note_of(Head(7, "ab" * 32)).hex()}))
    finding = found(spent)["ledger"]
    assert finding.state == "wrong"
    assert "older copy was put back" in finding.said
    assert "older copy was put back" in verify(one_place(spent)).problem


def test_a_ledger_that_is_gone_is_wrong(spent: Path) -> None:
    (spent / "locks.log").write_text("lock 00\n")
    (spent / "ledger.sqlite").unlink()
    finding = found(spent)["ledger"]
    assert finding.state == "wrong"
    assert "the ledger is gone" in finding.said


def test_a_purpose_that_the_law_refuses_needs_an_exception(site: Path) -> None:
    policy = site / "policy.yaml"
    text = re.sub(
        r"(?m)^purposes:.*(\n *- .*)*", "purposes: [workplace wellbeing]", policy.read_text()
    )
    policy.write_text(text)
    finding = found(site)["policy"]
    assert finding.state == "wrong"
    assert "'workplace wellbeing' is refused whatever stands in policy.yaml" in finding.said
    claim = "exception: {kind: medical, reference: REC 3, signed_by: A. Officer}"
    policy.write_text(f"{text}\n{claim}\n")
    assert "is refused whatever" not in found(site)["policy"].said


def test_more_persons_than_are_declared_are_told(site: Path) -> None:
    rows = "".join(f"s{n},p{n},calm,hello\n" for n in range(41))
    head, manifest = "sample_id,person_id,label,text\n", site / "manifest.csv"
    manifest.write_text(head + rows)
    finding = found(site)["manifest"]
    assert finding.state == "look"
    assert "41 persons, policy.yaml declares 40" in finding.said
    (site / "manifest.csv").write_text(
        "sample_id,person_id,label,text\n" + rows[: rows.index("s40")]
    )
    assert found(site)["manifest"].state == "fine"
