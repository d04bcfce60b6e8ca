"""Least frequently used."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.heaps import file, heap, smallest, withdraw
from tiersim.policies.object.queues import leave, move, oldest, queues


@register(
    "lfu",
    family="object-replacement",
    paper="Aho, Denning, Ullman, Principles of optimal page replacement, JACM 18(1), 1971, doi:10.1145/321623.321632",
)
class Lfu:
    """Evicts the object that was asked for least often since it entered.

    Of those asked for equally often goes the one that has been so for longest, which is the one used longest ago: the
    paper does not say, and libCacheSim 0.3.5 does so. Uses are counted from 1 at the entry, and forgotten when the
    object leaves.

    A key is the count of uses above the number of the last one, and never falls. Objects wait in order of entry until
    the oldest is looked at for eviction: one that was used goes to the heap. A hit costs the same whatever the cache
    holds; an eviction grows with the logarithm of the objects held. The two parts of a key share 63 bits: exact for
    traces of up to 2**31 requests, and for longer ones while no object has more uses than the rest of the bits can say.
    """

    @staticmethod
    def state(objects: int, most: int, requests: int) -> State:
        # key: 0 out, else uses above the number of the last, which has `low` bits
        return (
            queues(1, most, objects)
            | heap(most, objects)
            | {"key": np.zeros(objects, np.int64), "low": np.full(1, requests.bit_length(), np.int64)}
        )

    @staticmethod
    def lookup(key: Words, x: int) -> bool:
        return key[x] > 0

    @staticmethod
    def touch(key: Words, low: Words, x: int, now: int) -> None:
        key[x] = ((key[x] >> low[0]) + 1) << low[0] | now

    @staticmethod
    def insert(queue: Words, ends: Words, spot: Words, key: Words, low: Words, x: int, now: int) -> None:
        move(queue, ends, spot, 0, x)
        key[x] = 1 << low[0] | now

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
        low: Words,
    ) -> int:
        x = oldest(queue, ends, spot, 0)
        while x >= 0:
            if key[x] >> low[0] == 1:
                return x
            leave(spot, x)
            file(heap_key, heap_id, heap_n, filed, x, key[x])
            x = oldest(queue, ends, spot, 0)
        return smallest(heap_key, heap_id, heap_n, filed, key)

    @staticmethod
    def remove(spot: Words, filed: Words, key: Words, x: int) -> None:
        leave(spot, x)
        withdraw(filed, x)
        key[x] = 0
