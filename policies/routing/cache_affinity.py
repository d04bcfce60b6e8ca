"""By a hash of how the prompt begins."""

from __future__ import annotations

from typing import Annotated

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.consistent_hash import ConsistentHash
from tiersim.policies.routing.contract import Asked, View
from tiersim.policies.routing.ring import key_of


@register(
    "cache-affinity",
    family="routing",
    paper="Karger et al., Consistent hashing and random trees, STOC 1997, doi:10.1145/258533.258660",
)
class CacheAffinity(ConsistentHash):
    """Sends equal beginnings of prompts to the same instance, by consistent hashing, whatever the load.

    The key is the first blocks of the prompt; without blocks it is the session, and without that the request. DualMap's
    baseline of this name has a key that grows where it is hot: `{use: dualmap-no-rebalance, candidates: 1}`.
    """

    prefix: Annotated[int, Param("blocks of the key", unit="count", ge=1, source="most of DualMap's requests")] = 2

    def route(self, request: Asked, view: View) -> int:
        return self.ring.place(key_of(request, self.prefix))
