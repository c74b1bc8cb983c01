"""Quiet hours: when a site begins nothing, in the machine's local time."""

from datetime import datetime, time

from common.config import SitePolicy
from common.errors import QuietHours


def gate_hours(policy: SitePolicy, now: datetime) -> None:
    """Refuse to begin anything in the quiet hours.

    Args:
        policy: the site's.
        now: the machine's local time.

    Raises:
        QuietHours: it is one; the work may be asked for again later.

    Edge cases: a span belongs to its start and not to its end; one that ends where it starts is
        the whole day; one that ends before it starts goes over midnight.
    """
    for span in policy.quiet_hours:
        if is_within(span, now.time()):
            raise QuietHours(
                f"It is {now:%H:%M}; {policy.site} begins nothing from {span}. policy.yaml, "
                "quiet_hours: the run can be resumed afterwards, or change the span."
            )


def is_within(span: str, moment: time) -> bool:
    """Whether a moment lies in a span such as 22:00-06:00."""
    start, end = (time.fromisoformat(text) for text in span.split("-"))
    if start < end:
        return start <= moment < end
    return moment >= start or moment < end
