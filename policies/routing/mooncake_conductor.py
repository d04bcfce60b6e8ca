"""To whoever gives the first token first, or to nobody."""

from __future__ import annotations

from operator import sub
from typing import Annotated

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View

WHOLE = 10**9


@register(
    "mooncake-conductor",
    family="routing",
    paper="Qin et al., Mooncake, USENIX FAST 2025, Algorithm 1",
)
class MooncakeConductor:
    """Sends a request to the instance with the least time to the first token, and to none where that is too long.

    The time is estimated: what is to be computed there before, and what of the prompt is not cached there. With
    `threshold`, where another instance has so many times as much of the prompt, the estimate is that of a transfer of
    what is missing from there. The paper names no value of it, and instances here have no way to each other's caches:
    what is thought to be transferred is computed all the same, so unless it is said all instances count with their own.
    A line in the tokens stands for the paper's regression, whose coefficients are not published.
    """

    prefill: Annotated[
        int,
        Param("of a token that is not cached", unit="time_per_item", ge=1, source="DualMap's artifact"),
    ] = 160 * 10**6
    slo: Annotated[int | None, Param("an estimate above it is refused", unit="time", ge=0)] = None
    threshold: Annotated[int | None, Param("as many times its own is worth a transfer", unit="ratio", ge=WHOLE)] = None
    transfer: Annotated[
        int,
        Param("of a token between instances", unit="time_per_item", ge=0, source="57 kB at 100 Gb/s"),
    ] = 4_600_000

    def route(self, request: Asked, view: View) -> int | None:
        hits, prefill = view.hits(request), self.prefill
        # but for the prompt, which all have to compute
        times = [tokens * prefill for tokens in map(sub, view.pending, hits)]
        if self.threshold is not None:
            best = max(hits)
            for instance, hit in enumerate(hits):
                if best > hit and best * WHOLE >= hit * self.threshold:
                    times[instance] += (best - hit) * (self.transfer - prefill)
        least = min(times)
        late = self.slo is not None and least + request.prompt * prefill > self.slo
        return None if late else times.index(least)
