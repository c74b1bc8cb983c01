"""What a site chose to tell a coordinator of its budget: a few figures, signed by the site."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import ConfigError, PrivacyError
from common.secagg.channel import Identity
from common.secagg.roster import Roster

FORMAT = "tacit budget statement"
VERSION = 1
_PURPOSE = "budget statement v1"
_LONGEST = 1 << 20


@dataclass(frozen=True)
class StudyFigures:
    """What a site tells of one study.

    Args:
        study: which.
        unit: whom ε speaks about.
        delta: δ of the study.
        epsilon_spent: None where nothing bounds it.
        epsilon_cap: None where the site sets none.
        rounds: training rounds charged.
        rounds_affordable: rounds like the last that every cap allows; None where unknown.
        last_charge: UTC; None where nothing was charged.
        exact: what left without noise: not differentially private.
    """

    study: str
    unit: str
    delta: float
    epsilon_spent: float | None
    epsilon_cap: float | None
    rounds: int
    rounds_affordable: int | None
    last_charge: str | None
    exact: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """A site's word about its budget at one moment.

    Args:
        site: whose.
        at: when, UTC.
        studies: what it tells of each study.
        signature: the site's, Ed25519, in hexadecimal.
    """

    site: str
    at: str
    studies: tuple[StudyFigures, ...]
    signature: str = ""


def sign_statement(identity: Identity, statement: Statement) -> Statement:
    """Sign a statement in the site's name."""
    return replace(statement, signature=identity.sign(_PURPOSE, _signed(statement)).hex())


def to_json(statement: Statement) -> str:
    """Return a statement as the text of a file."""
    return json.dumps(_record(statement), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str, roster: Roster) -> Statement:
    """Read a statement that is signed by a site of the roster.

    Raises:
        ConfigError: the text is no statement.
        PrivacyError: its signature is not that of the site that it names.
    """
    if len(text) > _LONGEST:
        raise ConfigError(f"a statement has at most {_LONGEST} characters; found {len(text)}")
    try:
        record = json.loads(text)
        if (record.pop("format"), record.pop("version")) != (FORMAT, VERSION):
            raise ValueError(f"expected {FORMAT!r} version {VERSION}")
        studies = tuple(_figures(one) for one in record.pop("studies"))
        found = Statement(studies=studies, **{name: str(value) for name, value in record.items()})
        signature = bytes.fromhex(found.signature)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"this is no statement of a site's budget: {error}") from None
    if not roster.signed(found.site, signature, _PURPOSE, _signed(found)):
        raise PrivacyError(
            f"the statement in the name of {found.site!r} is not signed by that site"
        )
    return found


def write_statement(path: Path, statement: Statement) -> None:
    """Write a statement to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(statement), encoding="utf-8")


def _figures(record: dict[str, Any]) -> StudyFigures:
    return StudyFigures(**{**record, "exact": tuple(record["exact"])})


def _record(statement: Statement) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, **asdict(statement)}


def _signed(statement: Statement) -> str:
    unsigned = _record(replace(statement, signature=""))
    return json.dumps(unsigned, sort_keys=True, separators=(",", ":"), allow_nan=False)
