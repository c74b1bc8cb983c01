"""A coordinator from nothing: its folder, whom it enrols, and what it refuses."""

import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from common.cards import SiteCard, read_coordinator_card, write_site_card
from common.errors import ConfigError, PolicyRefused
from common.keys import read_roster
from common.secagg.channel import Identity
from server.coordinator.folder import CARD, CARDS, enrol, init_coordinator, remove, renew

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SECRETS = ("identity.key", "authority.key", "server.key", "superexec.secret")


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    init_coordinator(tmp_path / "hub", "hub", "hub.example:8443", NOW)
    return tmp_path / "hub"


def site_card(folder: Path, name: str, key: bytes = b"", node_key: str = "ecdsa AAAA") -> Path:
    identity = Identity(name, key or name.ljust(32).encode())
    card = SiteCard(name, identity.public_key, node_key)
    write_site_card(folder / f"{name}.json", card, identity)
    return folder / f"{name}.json"


def test_every_secret_is_readable_by_its_owner_alone(hub: Path) -> None:
    assert hub.stat().st_mode & 0o777 == 0o700
    assert {(hub / name).stat().st_mode & 0o777 for name in SECRETS} == {0o600}


def test_the_certificate_is_by_the_authority_for_the_address(hub: Path) -> None:
    ca = x509.load_pem_x509_certificate((hub / "ca.crt").read_bytes())
    server = x509.load_pem_x509_certificate((hub / "server.crt").read_bytes())
    server.verify_directly_issued_by(ca)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["hub.example", "localhost"]
    key = load_pem_private_key((hub / "server.key").read_bytes(), password=None)
    assert key.public_key() == server.public_key()


def test_the_certificate_is_valid_for_a_year_from_an_hour_ago(hub: Path) -> None:
    server = x509.load_pem_x509_certificate((hub / "server.crt").read_bytes())
    assert server.not_valid_before_utc == NOW - timedelta(hours=1)
    assert server.not_valid_after_utc == NOW + timedelta(days=397)


def test_a_renewed_certificate_is_by_the_same_authority_for_the_same_key(hub: Path) -> None:
    kept = {path.name: path.read_bytes() for path in hub.iterdir() if path.is_file()}
    later = NOW + timedelta(days=390)
    assert renew(hub, later) == later + timedelta(days=397)
    assert {p.name for p in hub.iterdir() if p.is_file() and p.read_bytes() != kept[p.name]} == {
        "server.crt"
    }
    ca, before = (x509.load_pem_x509_certificate(kept[name]) for name in ("ca.crt", "server.crt"))
    after = x509.load_pem_x509_certificate((hub / "server.crt").read_bytes())
    after.verify_directly_issued_by(ca)
    assert after.public_key() == before.public_key()
    assert after.not_valid_after_utc == later + timedelta(days=397)
    names = [
        one.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        for one in (before, after)
    ]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda hub: (hub / "authority.key").unlink(), "authority.key cannot be read"),
        (lambda hub: (hub / "server.key").write_bytes(b"none"), "damaged"),
        (lambda hub: (hub / "server.key").replace(hub / "authority.key"), "server.key cannot"),
    ],
    ids=["kept elsewhere", "damaged", "gone"],
)
def test_a_certificate_is_not_renewed_without_its_keys(hub: Path, harm, says: str) -> None:
    before = (hub / "server.crt").read_bytes()
    harm(hub)
    with pytest.raises(ConfigError, match=says):
        renew(hub, NOW)
    assert (hub / "server.crt").read_bytes() == before


def test_a_certificate_is_not_renewed_by_another_authority(hub: Path) -> None:
    (hub / "authority.key").write_bytes((hub / "server.key").read_bytes())
    with pytest.raises(ConfigError, match=r"authority.key is not the key of ca.crt"):
        renew(hub, NOW)


def test_the_standard_library_takes_certificate_and_key(hub: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(hub / "server.crt", hub / "server.key")
    assert ssl.create_default_context(cafile=hub / "ca.crt").cert_store_stats()["x509_ca"] == 1


def test_the_proxy_lets_only_the_fleet_through(hub: Path) -> None:
    text = (hub / "nginx.conf").read_text()
    assert text.count("proxy_pass") == 1
    assert "location /v1/fleet/ {" in text
    assert "listen 8443 ssl" in text
    assert re.search(r"location /v1/fleet/ \{\s+limit_except POST \{\s+deny all;", text)
    assert not re.search(r"\$[a-z{]", text)


def test_a_proxy_at_an_address_of_version_6_listens_there(tmp_path: Path) -> None:
    init_coordinator(tmp_path / "a hub", "hub", "[::1]:8443", NOW)
    text = (tmp_path / "a hub" / "nginx.conf").read_text()
    assert "listen [::]:8443 ssl;" in text
    assert "server_name [::1];" in text
    assert f'ssl_certificate "{tmp_path}/a hub/server.crt";' in text


def test_enrolled_sites_stand_on_the_card_and_in_the_roster(hub: Path, tmp_path: Path) -> None:
    cards = [site_card(tmp_path, name) for name in ("south", "north", "east")]
    card = enrol(hub, cards)
    assert read_coordinator_card(hub / CARD) == card
    assert list(card.sites) == ["east", "north", "south"]
    assert dict(read_roster(hub / "roster.json")) == card.sites
    assert (hub / CARDS / "east.json").read_bytes() == cards[2].read_bytes()


def test_a_card_is_numbered_anew_only_when_the_roster_changes(hub: Path, tmp_path: Path) -> None:
    first = enrol(hub, [site_card(tmp_path, "north")])
    assert enrol(hub, [site_card(tmp_path, "north")]).number == first.number == 2
    assert enrol(hub, [site_card(tmp_path, "south")]).number == 3


def test_a_site_may_change_its_node_key_but_not_its_identity(hub: Path, tmp_path: Path) -> None:
    enrol(hub, [site_card(tmp_path, "north")])
    renewed = site_card(tmp_path, "north", node_key="ecdsa BBBB")
    enrol(hub, [renewed])
    assert (hub / CARDS / "north.json").read_bytes() == renewed.read_bytes()
    with pytest.raises(PolicyRefused, match=r"coordinator remove north"):
        enrol(hub, [site_card(tmp_path, "north", key=b"x" * 32)])


def test_nothing_is_written_when_one_of_the_cards_is_wrong(hub: Path, tmp_path: Path) -> None:
    before = (hub / CARD).read_bytes()
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"bad\.json"):
        enrol(hub, [site_card(tmp_path, "north"), tmp_path / "bad.json"])
    assert (hub / CARD).read_bytes() == before
    assert list((hub / CARDS).iterdir()) == []


def test_two_sites_with_one_key_are_refused(hub: Path, tmp_path: Path) -> None:
    cards = [site_card(tmp_path, name, key=b"k" * 32) for name in ("north", "south")]
    with pytest.raises(PolicyRefused, match=r"one identity key"):
        enrol(hub, cards)


def test_a_removed_site_may_be_enrolled_under_a_new_key(hub: Path, tmp_path: Path) -> None:
    enrol(hub, [site_card(tmp_path, "north")])
    assert remove(hub, "north").sites == {}
    new = enrol(hub, [site_card(tmp_path, "north", key=b"x" * 32)])
    assert list(new.sites) == ["north"]
    with pytest.raises(ConfigError, match=r"no site 'west'"):
        remove(hub, "west")


@pytest.mark.parametrize("address", ["hub.example", "hub:0", "hub:99999", "a b:1", ":443", "h:1;x"])
def test_an_address_that_does_not_fit_leaves_nothing_behind(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match=r"HOST:PORT"):
        init_coordinator(tmp_path / "hub", "hub", address, NOW)
    assert not (tmp_path / "hub").exists()


def test_a_second_init_overwrites_nothing(hub: Path) -> None:
    before = (hub / "identity.key").read_bytes()
    with pytest.raises(ConfigError, match=r"already there"):
        init_coordinator(hub, "hub", "hub.example:443", NOW)
    assert (hub / "identity.key").read_bytes() == before


@pytest.mark.parametrize("address", ["127.0.0.1:8443", "[::1]:8443"])
def test_an_address_of_numbers_stands_in_the_certificate_as_one(
    tmp_path: Path, address: str
) -> None:
    init_coordinator(tmp_path / "hub", "hub", address, NOW)
    server = x509.load_pem_x509_certificate((tmp_path / "hub" / "server.crt").read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = [str(ip) for ip in names.get_values_for_type(x509.IPAddress)]
    assert address.rpartition(":")[0].strip("[]") in found
