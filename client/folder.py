"""A site's own folder: policy, keys, roster, ledger, cache and log. Nothing in it ever leaves."""

import json
import os
import time
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from client.site.audit_log import AUDIT_LOG
from common.config import FrozenEncoder, SitePolicy
from common.errors import ConfigError
from common.settings import load_policy

LOG = "site.log"
LARGEST_LOG = 16 << 20


@dataclass(frozen=True)
class SiteFolder:
    """Where a site keeps what is its own.

    Args:
        root: the folder; holds policy.yaml, identity.key, roster.json, ledger.sqlite, site.log.
        policy: read from policy.yaml.
    """

    root: Path
    policy: SitePolicy

    @property
    def name(self) -> str:
        """The site's name in the roster."""
        return self.policy.site

    @property
    def identity(self) -> Path:
        """The site's Ed25519 private key, 0600."""
        return self.root / "identity.key"

    @property
    def roster(self) -> Path:
        """The pinned names and public keys of all sites."""
        return self.root / "roster.json"

    @property
    def ledger(self) -> Path:
        """The append-only account of privacy spent."""
        return self.root / "ledger.sqlite"

    @property
    def locks(self) -> Path:
        """What the site remembers of its secure sums."""
        return self.root / "locks.log"

    @property
    def heads(self) -> Path:
        """The newest ledger head of each site, as the rounds showed them."""
        return self.root / "peers.json"

    @property
    def audit(self) -> Path:
        """What the site did and refused, chained and signed."""
        return self.root / AUDIT_LOG

    @property
    def manifest(self) -> Path:
        """The table of the site's recordings."""
        return self.root / self.policy.manifest

    @property
    def cache(self) -> Path:
        """Extracted features."""
        return self.root / self.policy.cache

    @property
    def encoders(self) -> dict[str, FrozenEncoder]:
        """The frozen encoders that the policy names, their paths resolved."""
        return {
            name: replace(encoder, path=str(self.root / encoder.path))
            for name, encoder in self.policy.encoders.items()
        }


def log(root: Path, event: str, **details: str | int | float | bool) -> None:
    """Append one JSON line to a site's log; the place for reasons that must not leave.

    A log that has grown large becomes site.log.1, in place of the one before.
    """
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event}
    path = root / LOG
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as out:
        out.write(json.dumps({**line, **details}, ensure_ascii=False) + "\n")
        is_large = out.tell() > LARGEST_LOG
    if is_large:
        path.replace(path.with_name(f"{LOG}.1"))


def stamp(root: Path) -> tuple[int, ...]:
    """When the site's policy and roster were last changed, and the day (consent runs out).

    Raises:
        ConfigError: the folder is not a site's.
    """
    try:
        policy = (root / "policy.yaml").stat().st_mtime_ns
    except OSError as error:
        raise ConfigError(f"{root} is not a site's folder: it holds no policy.yaml.") from error
    roster = root / "roster.json"
    changed = roster.stat().st_mtime_ns if roster.exists() else 0
    return policy, changed, date.today().toordinal()


def open_site(root: Path) -> SiteFolder:
    """The folder of a site.

    Raises:
        ConfigError: there is no policy in it, or the policy does not fit.
    """
    stamp(root)
    return SiteFolder(root, load_policy(root / "policy.yaml"))
