"""By a point on a ring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View
from tiersim.policies.routing.ring import Points, Ring, key_of, owner_key


@register(
    "consistent-hash",
    family="routing",
    paper="Karger et al., Consistent hashing and random trees, STOC 1997, doi:10.1145/258533.258660",
)
class ConsistentHash:
    """Sends equal keys to the same instance, whatever the load; with an instance more or less few keys move.

    Where the key is not known it is the session, and where that is not known the request. With `key: prefix` it is
    `cache-affinity`.
    """

    key: Annotated[Literal["session", "prefix"], Param("the session, or the first blocks of the prompt")] = "session"
    prefix: Annotated[int, Param("blocks of the key", unit="count", ge=1, source="most of DualMap's requests")] = 2
    points: Points = 160

    def start(self, instances: int, seed: int) -> None:
        self.changed(range(instances))

    def changed(self, instances: Sequence[int]) -> None:
        self.ring = Ring(instances, self.points)

    def route(self, request: Asked, view: View) -> int:
        return self.ring.place(owner_key(request) if self.key == "session" else key_of(request, self.prefix))
