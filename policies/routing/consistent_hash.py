"""By a point on a ring."""

from __future__ import annotations

from collections.abc import Sequence

from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View
from tiersim.policies.routing.ring import Points, Ring, owner_key


@register(
    "consistent-hash",
    family="routing",
    paper="Karger et al., Consistent hashing and random trees, STOC 1997, doi:10.1145/258533.258660",
)
class ConsistentHash:
    """Sends equal keys to the same instance, whatever the load; with an instance more or less few keys move.

    The key is the session, and where that is not known the request. `cache-affinity` takes the prompt's first blocks.
    """

    points: Points = 160

    def start(self, instances: int, seed: int) -> None:
        self.changed(range(instances))

    def changed(self, instances: Sequence[int]) -> None:
        self.ring = Ring(instances, self.points)

    def route(self, request: Asked, view: View) -> int:
        return self.ring.place(owner_key(request))
