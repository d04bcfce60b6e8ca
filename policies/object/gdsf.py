"""GreedyDual-Size with frequency."""

from __future__ import annotations

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

    In the paper a new object has its priority before any other leaves, and does not enter when it is the lowest itself.
    Here what is missed enters, with the clock after the evictions. This is libCacheSim as of 2024, ties included, which
    is why priorities are in millionths; its version 0.3.5 does as the paper does, and advances the clock to the
    priority of an object that did not enter.
    """

    @staticmethod
    def state(objects: int, most: int) -> State:
        return priorities(most, objects) | {"uses": np.zeros(objects, np.int64), "clock": np.zeros(1, np.float64)}

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
        clock: Reals,
        x: int,
        size: int,
        cost: float,
        now: int,
    ) -> None:
        uses[x] = 1
        value = clock[0] + SCALE * cost / max(size, 1)
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
