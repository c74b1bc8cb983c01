"""Against whom an ε holds when noise comes in shares: three onlookers, three figures.

| onlooker | noise that hides a unit |
|---|---|
| the coordinator with as many sites as the protocol tolerates | the shares of `honest` sites |
| everybody who sees released sums only | the shares of all `total` contributors |
| everybody, if secure aggregation were broken outright | the site's own share |

Events other than shares carry the site's full noise and cost the same against all three.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from common.privacy.accountant import epsilon
from common.privacy.events import DiscreteGaussianShare, Event, Unit

COLLUDING = "coordinator and colluding sites"
OUTSIDE = "readers of the released sums"
BROKEN = "anybody, if secure aggregation were broken"


def seen_by(event: Event, contributors: int) -> Event:
    """Return the event as it costs when the shares of `contributors` sites hide a unit.

    Guarantees: each site's own noise stays what it is; events without shares are returned as
    they are.
    """
    if not isinstance(event, DiscreteGaussianShare):
        return event
    sigma = event.noise_multiplier * math.sqrt(contributors / event.honest)
    total = max(contributors, event.total)
    return replace(event, noise_multiplier=sigma, honest=contributors, total=total)


def epsilon_by_onlooker(
    events: Iterable[Event],
    delta: float,
    unit: Unit = "person",
    records_per_person: int | None = None,
) -> dict[str, float]:
    """Return ε at `delta` against each onlooker; the ledger charges the first."""
    history = list(events)
    views = {
        COLLUDING: history,
        OUTSIDE: [seen_by(event, getattr(event, "total", 1)) for event in history],
        BROKEN: [seen_by(event, 1) for event in history],
    }
    return {who: epsilon(view, delta, unit, records_per_person) for who, view in views.items()}
