"""LFU with dynamic aging."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.heaps import file, heap, smallest, withdraw
from tiersim.policies.object.queues import leave, move, oldest, queues

LOW, AGE = 0, 1  # in `n`


@register(
    "lfu-da",
    family="object-replacement",
    paper="Dilley, Arlitt, IEEE Internet Computing 3(6), 1999, doi:10.1109/4236.807011",
)
class LfuDa:
    """LFU where a use counts on top of the age of the cache, so that what was popular once does not stay for ever.

    The key of an object is, at its entry and at each use, its uses since the entry plus the age, and the age is the key
    of the last victim. Of equal keys goes the one that got it first. libCacheSim 0.3.5 adds the age at each use again,
    so that its misses differ, and fails with small caches; this is the paper.
    """

    @staticmethod
    def state(objects: int, most: int, requests: int) -> State:
        # key: 0 out, else the key above the number of the last use, which has n[LOW] bits
        return (
            queues(1, most, objects)
            | heap(most, objects)
            | {
                "key": np.zeros(objects, np.int64),
                "uses": np.zeros(objects, np.int64),
                "n": np.array([requests.bit_length(), 0], np.int64),
            }
        )

    @staticmethod
    def lookup(key: Words, x: int) -> bool:
        return key[x] > 0

    @staticmethod
    def touch(key: Words, uses: Words, n: Words, x: int, now: int) -> None:
        uses[x] += 1
        key[x] = (uses[x] + n[AGE]) << n[LOW] | now

    @staticmethod
    def insert(queue: Words, ends: Words, spot: Words, key: Words, uses: Words, n: Words, x: int, now: int) -> None:
        uses[x] = 1
        key[x] = (1 + n[AGE]) << n[LOW] | now
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
        uses: Words,
    ) -> int:
        # the age only grows, so that what was not used since its entry lies in the order of its keys
        new = oldest(queue, ends, spot, 0)
        while new >= 0 and uses[new] > 1:
            leave(spot, new)
            file(heap_key, heap_id, heap_n, filed, new, key[new])
            new = oldest(queue, ends, spot, 0)
        x = smallest(heap_key, heap_id, heap_n, filed, key)
        return new if x < 0 or (new >= 0 and key[new] < key[x]) else x

    @staticmethod
    def evict(spot: Words, filed: Words, key: Words, n: Words, x: int) -> None:
        n[AGE] = key[x] >> n[LOW]
        LfuDa.remove(spot, filed, key, x)

    @staticmethod
    def remove(spot: Words, filed: Words, key: Words, x: int) -> None:
        leave(spot, x)
        withdraw(filed, x)
        key[x] = 0
