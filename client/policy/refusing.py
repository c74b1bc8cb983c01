"""How a refusal reads in the site's log: what was asked, what is allowed, where, what to do."""

from common.errors import PolicyRefused


def refused(asked: str, key: str, remedy: str) -> PolicyRefused:
    """The error of a refusal; its text never leaves the site.

    Args:
        asked: what was asked, and what is allowed.
        key: of policy.yaml that decides it.
        remedy: what the operator or the coordinator can do.
    """
    return PolicyRefused(f"{asked} policy.yaml, {key}: {remedy}")
