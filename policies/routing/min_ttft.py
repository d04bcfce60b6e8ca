"""To whoever gives the first token first."""

from __future__ import annotations

from operator import sub
from typing import Annotated

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View

WHOLE = 10**9


@register("min-ttft", family="routing", paper="Qin et al., Mooncake, USENIX FAST 2025")
class MinTtft:
    """Sends a request to the instance with the least estimate of its time to the first token; of equals to the first.

    The estimate counts tokens: those that are to be computed there before, and those of the request that are not
    cached there. A cached token may count too, as a share of a computed one.
    """

    hit_cost: Annotated[
        int, Param("of a cached token, by that of a computed one", unit="ratio", ge=0, le=WHOLE, source="assumed")
    ] = 0

    def route(self, request: Asked, view: View) -> int:
        pending, hits = view.pending, view.hits(request)
        # but for the prompt, which all have to compute
        if self.hit_cost:
            worth = WHOLE - self.hit_cost
            costs = [tokens * WHOLE - hit * worth for tokens, hit in zip(pending, hits, strict=True)]
        else:
            costs = list(map(sub, pending, hits))
        return costs.index(min(costs))
