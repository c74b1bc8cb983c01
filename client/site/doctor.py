"""`tacit site check`: whether a site can take part, and what to do where it cannot.

Each check is one function from the folder to a finding; a check that raises one of Tacit's own
errors has found something wrong, and the error says what to do.
"""

import importlib.metadata
import os
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from client.budget.places import look
from client.budget.verifying import hold_to_own_head
from client.data.table import read_table
from client.folder import open_site
from client.policy import shut_by
from client.policy.purpose import is_excepted, is_prohibited
from client.site.audit_log import AUDIT_LOG
from client.site.audit_log import check as check_audit_log
from client.site.bundles import approved
from client.site.folder import CARD, NODE_KEY, RUNTIME_SECRET
from client.site.health import is_serving
from client.site.keys import read_node_key
from client.site.processes import ports_of
from client.site.trust import CA_CERTIFICATE, pinned_card
from common.cards import CoordinatorCard, read_site_card
from common.errors import ConfigError, EnvironmentFault, PolicyRefused, TacitError
from common.keys import read_identity, read_roster
from common.privacy.ledger.file import check_mode
from common.privacy.plan import calibrate

SECRETS = ("identity.key", NODE_KEY, RUNTIME_SECRET)
LEAST_DISK_BYTES = 5 << 30
FULL_DISK_BYTES = 16 << 20
MOST_SKEW_S = 60.0
SOON_DAYS = 30
CONNECT_S = 5.0
_EXPIRED, _NOT_YET_VALID = 10, 9
"""OpenSSL's numbers of two ends of a certificate's check: X509_V_ERR_…"""
PACKAGES = ("torch", "opacus", "flwr", "cryptography", "numba")
PROBE_ROUNDS, PROBE_RATE, MOST_NOISE = 60, 0.5, 30.0


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        what: was looked at.
        state: "fine", "look" (works, but somebody should know) or "wrong".
        said: what was found; where wrong, what to do.
    """

    what: str
    state: str
    said: str


def examine(root: Path) -> Iterator[Finding]:
    """Yield one finding for each check, in the order in which a new site is set up."""
    for what, check in CHECKS.items():
        try:
            state, said = check(root)
        except TacitError as error:
            state, said = "wrong", str(error)
        except OSError as error:
            state, said = "wrong", f"{error.filename or root}: {error.strerror or error}."
        yield Finding(what, state, said)


def _keys(root: Path) -> tuple[str, str]:
    for name in SECRETS:
        mode = (root / name).stat().st_mode & 0o777
        if mode & 0o077:
            raise ConfigError(f"{root / name} has mode {mode:04o}: chmod 600 it.")
    card = read_site_card(root / CARD)
    identity = read_identity(root / "identity.key", card.site)
    if identity.public_key != card.identity_key or read_node_key(root / NODE_KEY) != card.node_key:
        raise ConfigError(f"{root / CARD} is not of these keys: restore both from one backup.")
    return "fine", f"three, mode 0600, those of {CARD} ({card.fingerprint})"


def _policy(root: Path) -> tuple[str, str]:
    policy = open_site(root).policy
    unlawful = [name for name in policy.purposes if is_prohibited(name)]
    if unlawful and not is_excepted(policy):
        return "wrong", (
            f"purpose {unlawful[0]!r} is refused whatever stands in policy.yaml (EU AI Act, "
            "Article 5(1)(f)), but for a signed exception: docs/policy.md"
        )
    shut = shut_by(policy, date.today())
    if shut:
        return "look", f"policy.yaml refuses every study as it stands: see {', '.join(shut)}"
    return "fine", f"allows {', '.join(policy.purposes)}; ε at most {policy.max_epsilon:g}"


def _manifest(root: Path) -> tuple[str, str]:
    path = open_site(root).manifest
    if not path.is_file():
        raise ConfigError(f"{path} is missing: write it, or name another in policy.yaml.")
    persons = {row.cells.get("person_id") for row in read_table(path).rows}
    if not persons:
        return "look", f"{path} has no rows yet; `tacit data import` can write it"
    declared = open_site(root).policy.declared_persons
    if len(persons) > declared:
        return "look", (
            f"{path} has {len(persons)} persons, policy.yaml declares {declared}: what δ protects "
            "and how large noise is follow from the latter; raise declared_persons there"
        )
    return "fine", f"{path}; `tacit data check {path}` looks at every recording"


def _privacy(root: Path) -> tuple[str, str]:
    policy = open_site(root).policy
    if policy.max_epsilon <= 0:
        return "look", "max_epsilon is 0: only studies without privacy could run, if allowed"
    if policy.delta > 0.1 / policy.declared_persons:
        return "look", f"δ = {policy.delta:g} is above 1/(10 × {policy.declared_persons} persons)"
    noise = calibrate(policy.max_epsilon, policy.delta, PROBE_RATE, PROBE_ROUNDS)
    said = f"ε = {policy.max_epsilon:g} over {PROBE_ROUNDS} rounds takes noise of {noise:.2g} C"
    return ("look" if noise > MOST_NOISE else "fine"), said


def _ledger(root: Path) -> tuple[str, str]:
    site = open_site(root)
    found = look(site)
    if found is None:
        return "fine", "nothing spent yet"
    check_mode(site.ledger)
    hold_to_own_head(site, found)
    return "fine", f"{found.head.seq} entries, chain and triggers whole"


def _audit(root: Path) -> tuple[str, str]:
    path = root / AUDIT_LOG
    if not path.exists():
        return "fine", "nothing happened yet"
    head = check_audit_log(path, read_site_card(root / CARD).identity_key)
    return "fine", f"{head.number} lines, chain and signatures whole"


def _roster(root: Path) -> tuple[str, str]:
    card = _card(root)
    if dict(read_roster(root / "roster.json")) != dict(card.sites):
        raise PolicyRefused("roster.json is not that of the confirmed card: run tacit site trust.")
    own = read_site_card(root / CARD)
    if card.sites.get(own.site) != own.identity_key:
        raise PolicyRefused(
            f"{card.name} has not enrolled this site under this key: send {root / CARD} to it, "
            "and confirm its new card by tacit site trust."
        )
    fewest = open_site(root).policy.min_sites
    if len(card.sites) < fewest:
        return "look", f"{len(card.sites)} sites; this one joins no sum of fewer than {fewest}"
    return "fine", f"{len(card.sites)} sites, confirmed, card number {card.number} of {card.name}"


def _bundles(root: Path) -> tuple[str, str]:
    known = approved(root)
    if not known:
        return "wrong", "none approved, so that every run is refused: tacit site approve"
    return "fine", f"{len(known)} approved, last {known[-1].sha256[:16]}…"


def _coordinator(root: Path) -> tuple[str, str]:
    card = _card(root)
    if (root / CA_CERTIFICATE).read_bytes() != card.ca_certificate.encode():
        raise PolicyRefused(
            f"{root / CA_CERTIFICATE} is not the authority of the confirmed card: do not go on "
            "with it; run tacit site trust once more."
        )
    host, _, port = card.address.rpartition(":")
    context = ssl.create_default_context(cafile=root / CA_CERTIFICATE)
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S) as plain,
            context.wrap_socket(plain, server_hostname=host.strip("[]")) as secure,
        ):
            certificate = secure.getpeercert() or {}
            answer = _asked(secure, host)
    except ssl.SSLError as error:
        raise EnvironmentFault(f"{card.address} {_why_not_trusted(error)}") from error
    except OSError as error:
        said = error.strerror or str(error) or "no answer"
        raise EnvironmentFault(
            f"{card.address} cannot be reached ({said}): open the firewall outwards to it."
        ) from error
    return _judged(certificate, answer)


def _why_not_trusted(error: ssl.SSLError) -> str:
    """What is wrong with the coordinator's certificate, and whose turn it is."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"does not speak TLS as expected ({error.reason}): call the coordinator."
    if error.verify_code == _EXPIRED:
        return "shows a certificate that has expired: the coordinator has to renew it."
    if error.verify_code == _NOT_YET_VALID:
        return "shows a certificate that is not valid yet: is this machine's clock right?"
    return (
        f"does not show a certificate by the confirmed authority ({error.verify_message}): do not "
        "go on; call the coordinator."
    )


def _asked(secure: ssl.SSLSocket, host: str) -> bytes:
    secure.settimeout(CONNECT_S)
    secure.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    return secure.recv(4096)


def _judged(certificate: Mapping[str, object], answer: bytes) -> tuple[str, str]:
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    days = (ends - datetime.now(UTC)).days
    skew = _skew_s(answer, time.time())
    if skew is not None and abs(skew) > MOST_SKEW_S:
        return "wrong", f"this machine's clock is {skew:+.0f} s from the coordinator's: set it"
    said = f"reached, certificate good for {days} days"
    return ("look" if days < SOON_DAYS else "fine"), said


def _skew_s(answer: bytes, now: float) -> float | None:
    """By how much this clock is ahead of the one in an HTTP answer; None where it says no date."""
    for line in answer.decode("latin-1").splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "date":
            try:
                return now - parsedate_to_datetime(value.strip()).timestamp()
            except ValueError:
                return None
    return None


def _disk(root: Path) -> tuple[str, str]:
    free = shutil.disk_usage(root).free
    if free < FULL_DISK_BYTES:
        raise EnvironmentFault(
            f"{root}: the disk is full ({free >> 20} MiB free): nothing leaves a site that cannot "
            "write its ledger. Free space; nothing is lost."
        )
    said = f"{free / (1 << 30):.0f} GiB free"
    return ("fine" if free >= LEAST_DISK_BYTES else "look"), said


def _machine(_: Path) -> tuple[str, str]:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    gpus = sorted(Path("/proc/driver/nvidia/gpus").glob("*"))
    return "fine", f"{os.cpu_count()} cores, {len(gpus) or 'no'} NVIDIA GPU; {versions}"


def _runner(root: Path) -> tuple[str, str]:
    if is_serving(ports_of(root).health):
        return "fine", "serving"
    return "look", f"not running: tacit site start {root}, or the units in {root / 'systemd'}"


def _card(root: Path) -> CoordinatorCard:
    card = pinned_card(root)
    if card is None:
        raise ConfigError("No coordinator is confirmed yet: tacit site trust.")
    return card


CHECKS: dict[str, Callable[[Path], tuple[str, str]]] = {
    "keys": _keys,
    "policy": _policy,
    "manifest": _manifest,
    "privacy": _privacy,
    "ledger": _ledger,
    "audit log": _audit,
    "roster": _roster,
    "bundles": _bundles,
    "coordinator": _coordinator,
    "disk": _disk,
    "machine": _machine,
    "runner": _runner,
}
"""What is looked at -> its check, which returns a state and what to say."""
