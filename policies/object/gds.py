"""GreedyDual-Size."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.object.contract import Reals, State, Words
from tiersim.policies.object.priorities import enter, forget, lowest, priorities, renew


@register(
    "gds",
    family="object-replacement",
    aliases=("greedy-dual-size",),
    paper="Cao, Irani, Cost-aware WWW proxy caching algorithms, USITS 1997, usenix.org/conference/usits-97",
)
class Gds:
    """Evicts the object with the least of clock + cost / size, set when it is asked for.

    The clock is the priority of what was evicted last: instead of lowering all others by it, as the first version of
    the algorithm does, it is added to those set later. Of equal priorities the one that was set longest ago leaves,
    so that with one size and one cost it is LRU; the paper does not say. The cost is that of the last request, and 1
    where the trace has none, which favours hits over bytes.
    """

    @staticmethod
    def state(objects: int, most: int) -> State:
        return priorities(most, objects) | {"clock": np.zeros(1, np.float64)}

    @staticmethod
    def lookup(filed: Words, x: int) -> bool:
        return filed[x] >= 0

    @staticmethod
    def touch(
        worth: Reals,
        since: Words,
        filed: Words,
        heap_worth: Reals,
        heap_since: Words,
        heap_id: Words,
        heap_n: Words,
        clock: Reals,
        sizes: Words,
        x: int,
        cost: float,
        now: int,
    ) -> None:
        value = clock[0] + cost / max(sizes[x], 1)
        renew(worth, since, filed, heap_worth, heap_since, heap_id, heap_n, x, value, now)

    @staticmethod
    def insert(
        worth: Reals,
        since: Words,
        filed: Words,
        heap_worth: Reals,
        heap_since: Words,
        heap_id: Words,
        heap_n: Words,
        clock: Reals,
        x: int,
        size: int,
        cost: float,
        now: int,
    ) -> None:
        value = clock[0] + cost / max(size, 1)
        enter(worth, since, filed, heap_worth, heap_since, heap_id, heap_n, x, value, now)

    @staticmethod
    def victim(
        worth: Reals, since: Words, filed: Words, heap_worth: Reals, heap_since: Words, heap_id: Words, heap_n: Words
    ) -> int:
        return lowest(worth, since, filed, heap_worth, heap_since, heap_id, heap_n)

    @staticmethod
    def evict(worth: Reals, since: Words, filed: Words, clock: Reals, x: int) -> None:
        clock[0] = worth[x]
        forget(filed, since, x)

    @staticmethod
    def remove(filed: Words, since: Words, x: int) -> None:
        forget(filed, since, x)
