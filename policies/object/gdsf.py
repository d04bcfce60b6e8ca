"""GreedyDual-Size with frequency."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.object.contract import Reals, State, Words
from tiersim.policies.object.priorities import enter, forget, lowest, priorities, renew

SCALE = 1e6  # of priorities: where it is another, rounding makes other ties


@register(
    "gdsf",
    family="object-replacement",
    aliases=("greedy-dual-size-frequency",),
    paper="Cherkasova, HP Laboratories HPL-98-69R1, 1998",
)
class Gdsf:
    """Evicts the object with the least of clock + uses * cost / size.

    The clock is the priority of what was evicted last, so that old uses count less and less. Uses are counted from the
    entry. Of equal priorities the one that was set longest ago leaves; the paper does not say. The cost is that of the
    last request, and 1 where the trace has none.

    A new object has its priority before any other leaves, and does not enter when it is the lowest itself; the clock
    then moves to its priority. It may find out after some smaller ones have left for it. All this is as in libCacheSim
    0.3.5, whose misses are equal, ties included, which is why priorities are in millionths.
    """

    may_refuse: ClassVar[bool] = True

    @staticmethod
    def state(objects: int, most: int) -> State:
        # asked: the priority of the object that was missed
        clocks = {"clock": np.zeros(1, np.float64), "asked": np.zeros(1, np.float64)}
        return priorities(most, objects) | {"uses": np.zeros(objects, np.int64)} | clocks

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
        uses: Words,
        clock: Reals,
        sizes: Words,
        x: int,
        cost: float,
        now: int,
    ) -> None:
        uses[x] += 1
        value = clock[0] + uses[x] * SCALE * cost / max(sizes[x], 1)
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
        uses: Words,
        asked: Reals,
        x: int,
        now: int,
    ) -> None:
        uses[x] = 1
        enter(worth, since, filed, heap_worth, heap_since, heap_id, heap_n, x, asked[0], now)

    @staticmethod
    def miss(clock: Reals, asked: Reals, size: int, cost: float) -> None:
        asked[0] = clock[0] + SCALE * cost / max(size, 1)

    @staticmethod
    def victim(
        worth: Reals,
        since: Words,
        filed: Words,
        heap_worth: Reals,
        heap_since: Words,
        heap_id: Words,
        heap_n: Words,
        clock: Reals,
        asked: Reals,
        x: int,
    ) -> int:
        v = lowest(worth, since, filed, heap_worth, heap_since, heap_id, heap_n)
        if worth[v] <= asked[0]:
            return v
        clock[0] = asked[0]
        return x

    @staticmethod
    def evict(worth: Reals, since: Words, filed: Words, clock: Reals, x: int) -> None:
        clock[0] = worth[x]
        forget(filed, since, x)

    @staticmethod
    def remove(filed: Words, since: Words, x: int) -> None:
        forget(filed, since, x)
