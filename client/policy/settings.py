"""Which keys of a study a coordinator may set when it starts a run, and to what."""

from collections.abc import Mapping, Sequence
from operator import attrgetter

from client.policy.refusing import refused
from common.config import SitePolicy, Study
from common.rules import ANY, REST


def gate_settings(policy: SitePolicy, overrides: Sequence[str], study: Study) -> None:
    """Let what a coordinator set on top of the installed study pass, or refuse it.

    Args:
        policy: the site's.
        overrides: the coordinator's key=value pairs.
        study: with those pairs in it.

    Raises:
        PolicyRefused: a key that the site does not leave to the coordinator, or a value that it
            does not allow for that key.
    """
    for pair in overrides:
        key = pair.partition("=")[0]
        _gate_one(policy, key, attrgetter(key)(study))


def _gate_one(policy: SitePolicy, key: str, value: object) -> None:
    if key not in policy.settings and REST not in policy.settings:
        known = ", ".join(policy.settings) or "none"
        raise refused(
            f"The coordinator sets {key}; {policy.site} leaves it {known}.",
            "settings",
            f"list {key} there with its values, or ask for a run that leaves it as the study says.",
        )
    allowed = policy.settings.get(key, policy.settings.get(REST))
    if not fits(value, allowed):
        raise refused(
            f"The coordinator sets {key} to {value!r}; {policy.site} allows {_said(allowed)}.",
            f"settings.{key}",
            "widen it there, or ask the coordinator for another value.",
        )


def fits(value: object, allowed: object) -> bool:
    """Whether a value is one that a rule of `settings` allows; a rule of no known form fits none.

    Args:
        value: of the study's key.
        allowed: "any", a list of values, or a mapping with least, most or both.
    """
    if allowed == ANY:
        return True
    if isinstance(allowed, Mapping):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and _between(value, allowed)  # type: ignore[arg-type]
    if not isinstance(allowed, list | tuple):
        return False
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed)


def _between(value: float, allowed: Mapping[str, float]) -> bool:
    return allowed.get("least", value) <= value <= allowed.get("most", value)


def _said(allowed: object) -> str:
    if isinstance(allowed, Mapping):
        return ", ".join(f"{name} {bound:g}" for name, bound in allowed.items())
    values = allowed if isinstance(allowed, list | tuple) else ()
    return ", ".join(str(one) for one in values) or "no value"
