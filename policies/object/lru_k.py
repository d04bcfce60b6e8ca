"""LRU-K."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.heaps import file, heap, smallest, withdraw
from tiersim.policies.object.queues import leave, move, oldest, queues

OUT, FEW, MANY = range(3)  # keys: out, in and used fewer than k times, in and the k-th last use MANY ago
AHEAD = 2  # words of a row before the times of the uses: how many there were, and when the last was


@register(
    "lru-k",
    family="object-replacement",
    aliases=("lru-2",),
    paper="O'Neil, O'Neil, Weikum, SIGMOD 1993, doi:10.1145/170035.170081",
)
class LruK:
    """Evicts the object whose k-th last use is longest ago; one with fewer uses goes before all others.

    Of those with fewer uses goes the one that entered first: the paper asks for a subsidiary policy and leaves it open,
    libCacheSim 0.3.5 does so. As in the paper the uses of an object that left are remembered, for `retained` requests
    after the last; libCacheSim forgets them, and its misses are those with ``retained: 0``. Every request is a use of
    its own: the correlated reference period is zero.
    """

    k: Annotated[int, Param("which last use counts", ge=1, le=64, source="LRU-2 is the paper's example")] = 2
    retained: Annotated[
        int, Param("requests for which uses are remembered after the object left; -1: for ever", ge=-1, source="paper")
    ] = -1

    places: ClassVar[tuple[str, ...]] = ("out", "fewer-uses", "k-uses")

    def state(self, objects: int, most: int) -> State:
        return (
            queues(1, most, objects)
            | heap(most, objects)
            | {"key": np.zeros(objects, np.int64), "uses": np.zeros(objects * (self.k + AHEAD), np.int64)}
        )

    @staticmethod
    def lookup(key: Words, x: int) -> int:
        return key[x]

    @staticmethod
    def touch(key: Words, uses: Words, x: int, now: int, k: int) -> None:
        key[x] = used(uses, x, now, k)

    @staticmethod
    def insert(
        queue: Words,
        ends: Words,
        spot: Words,
        heap_key: Words,
        heap_id: Words,
        heap_n: Words,
        filed: Words,
        key: Words,
        uses: Words,
        x: int,
        now: int,
        k: int,
        retained: int,
    ) -> None:
        row = x * (k + AHEAD)
        if retained >= 0 and now - uses[row + 1] > retained:
            uses[row] = 0
        key[x] = used(uses, x, now, k)
        if key[x] >= MANY:
            file(heap_key, heap_id, heap_n, filed, x, key[x])
        else:
            move(queue, ends, spot, 0, x)

    @staticmethod
    def victim(
        queue: Words,
        ends: Words,
        spot: Words,
        heap_key: Words,
        heap_id: Words,
        heap_n: Words,
        filed: Words,
        key: Words,
    ) -> int:
        x = oldest(queue, ends, spot, 0)
        while x >= 0:
            if key[x] == FEW:
                return x
            leave(spot, x)
            file(heap_key, heap_id, heap_n, filed, x, key[x])
            x = oldest(queue, ends, spot, 0)
        return smallest(heap_key, heap_id, heap_n, filed, key)

    @staticmethod
    def evict(spot: Words, filed: Words, key: Words, x: int) -> None:
        leave(spot, x)
        withdraw(filed, x)
        key[x] = OUT

    @staticmethod
    def remove(spot: Words, filed: Words, key: Words, uses: Words, x: int, k: int) -> None:
        LruK.evict(spot, filed, key, x)
        uses[x * (k + AHEAD)] = 0

    @staticmethod
    def where(key: Words, x: int) -> int:
        return min(key[x], MANY)


def used(uses: Words, x: int, now: int, k: int) -> int:
    """Note a use of x, and give its key. The times of the last k uses stand in a ring."""
    row = x * (k + AHEAD)
    times = row + AHEAD
    n = uses[row]
    uses[row] = n + 1
    uses[row + 1] = now
    uses[times + n % k] = now
    return MANY + uses[times + (n + 1) % k] if n + 1 >= k else FEW
