"""What a site leaves on record of the messages that it answers and refuses: two files, two readers.

The audit log is chained, signed and may be shown; it holds no reason. The site's own log holds the
reasons, and stays. A message whose line cannot be written is refused.
"""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from client.folder import SiteFolder, log, open_site
from client.session import Session
from client.site.audit_log import append
from common.errors import TacitError
from common.keys import read_identity
from common.refusals import word_of
from common.secagg.states import Masked, Shared, State


def answered(session: Session, stage: str, state: State) -> None:
    """Record an answer that matters: the heads of all ledgers at SHARE, numbers at MASK.

    R0 is the hash of every site's head in that round; the coordinator keeps what it is the hash of.

    Raises:
        EnvironmentFault: the line cannot be written; then nothing may leave.
    """
    context, identity = state.context, session.member.identity
    if isinstance(state, Shared):
        about = {"run": context.run, "heads": state.r0.hex()}
        append(session.site.audit, identity, "shared", _now(), round=context.round, **about)
    if isinstance(state, Masked):
        head = session.ledger.head()
        about = {"stage": stage, "study": session.study.name, "run": context.run}
        about["ledger"] = f"{head.seq}:{head.digest}"
        number = context.round + state.step
        append(session.site.audit, identity, "answered", _now(), round=number, **about)


def refused(site: SiteFolder, stage: str, error: Exception) -> None:
    """Record a refusal: the word in the audit log, the reason in the site's own log.

    Raises:
        EnvironmentFault: a line cannot be written.
    """
    _log(site.root, stage, error)
    _audit(site, stage, error)


def refused_at(root: Path, stage: str, error: Exception) -> None:
    """Record a refusal in whatever is left of a site's folder; a refusal stands without it."""
    with suppress(OSError, ValueError):
        _log(root, stage, error)
    with suppress(TacitError, OSError, ValueError):
        _audit(open_site(root), stage, error)


def _log(root: Path, stage: str, error: Exception) -> None:
    word, kind = word_of(error), type(error).__name__
    log(root, "refused", stage=stage, word=word, error=kind, reason=str(error))


def _audit(site: SiteFolder, stage: str, error: Exception) -> None:
    identity = read_identity(site.identity, site.name)
    append(site.audit, identity, "refused", _now(), stage=stage, word=word_of(error))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
