"""A site's signature over a report, in a file beside it."""

import hashlib
import json
from pathlib import Path

from client.folder import SiteFolder
from common.errors import LedgerError
from common.keys import read_identity, read_roster

_PURPOSE = "budget report v1"
FORMAT = "tacit budget signature"


def signature_path(report: Path) -> Path:
    """Where the signature of a report lies."""
    return report.with_name(report.name + ".sig")


def sign(site: SiteFolder, content: bytes) -> dict[str, str | int]:
    """Return a site's signature over a report.

    Raises:
        ConfigError: the site's key cannot be read.
    """
    identity = read_identity(site.identity, site.name)
    hashed = hashlib.sha256(content).digest()
    return {
        "format": FORMAT,
        "version": 1,
        "site": site.name,
        "public_key": identity.public_key.hex(),
        "sha256": hashed.hex(),
        "signature": identity.sign(_PURPOSE, site.name, hashed).hex(),
    }


def check(site: SiteFolder, report: Path) -> bytes:
    """Return the content of a report that carries the site's signature.

    Args:
        site: whose report; its roster holds the key that must have signed.
        report: the JSON; its signature lies beside it.

    Raises:
        LedgerError: report or signature is missing, or the signature is not the site's.
    """
    try:
        content = report.read_bytes()
        record = json.loads(signature_path(report).read_text(encoding="utf-8"))
        signature = bytes.fromhex(record["signature"])
        signer = str(record["site"])
    except OSError as error:
        raise LedgerError(f"{error.filename} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(f"{signature_path(report)} is no signature: {error}.") from None
    roster, hashed = read_roster(site.roster), hashlib.sha256(content).digest()
    if signer != site.name or not roster.signed(signer, signature, _PURPOSE, signer, hashed):
        raise LedgerError(
            f"{report}: the signature beside it is not that of {site.name} over this content; the "
            "report was altered, or is another site's"
        )
    return content
