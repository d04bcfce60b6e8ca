"""LeCaR: learns whether LRU or LFU should evict."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.chances import chance, draws, exponential
from tiersim.policies.object.contract import Reals, State, Words
from tiersim.policies.object.heaps import file, heap, smallest, withdraw
from tiersim.policies.object.queues import leave, move, oldest, queues

PAPER = "the paper"
OUT, IN, GHOST_LRU, GHOST_LFU = range(4)
HELD, SHIFT, EXPERT, ROOM_LRU, ROOM_LFU = range(5)
LOG_DISCOUNT = -5.298317366548036  # ln 0.005: how much a regret counts after as many requests as objects are held
LEAST = 1e-10  # weight that an expert keeps


@register(
    "lecar",
    family="object-replacement",
    paper="Vietri et al., Driving cache replacement with ML-based LeCaR, HotStorage 2018",
)
class LeCar:
    """Evicts what LRU or what LFU would, drawn by weights that fall when the one that evicted an object is regretted.

    What leaves is remembered in the history of the expert that was drawn, each as large as half of the cache; when both
    choose the same object it is in none. A miss of an object in a history multiplies the weight of that expert by
    e^(-rate * d^t), where t is the number of requests since it left and d^n = 0.005 for n objects in the cache.

    The paper leaves open where LFU counts begin and how it decides between equal counts: here uses are counted anew at
    each entry, and of equal ones the object leaves that has been so for longest. An expert keeps a weight of 1e-10. The
    misses agree with libCacheSim 0.3.5, which does the same, as far as chance allows.
    """

    rate: Annotated[float, Param("learning rate", ge=0, le=100, source=PAPER)] = 0.45
    lru_weight: Annotated[int, Param("weight of LRU at first", unit="ratio", ge=0, le=10**9, source=PAPER)] = 5 * 10**8

    random: ClassVar[bool] = True
    places: ClassVar[tuple[str, ...]] = ("out", "in", "ghost-lru", "ghost-lfu")

    def state(self, objects: int, capacity: int, most: int, requests: int, seed: int) -> State:
        n = np.zeros(5, np.int64)
        n[SHIFT] = requests.bit_length()
        n[ROOM_LRU] = n[ROOM_LFU] = capacity // 2
        own: State = {
            "place": np.zeros(objects, np.uint8),
            "key": np.zeros(objects, np.int64),  # uses above the number of the last request; in a history when it left
            "n": n,
            "weight": np.array([self.lru_weight / 1e9]),
            "draws": draws(seed),
        }
        return queues(4, most, objects) | heap(most, objects) | own

    @staticmethod
    def lookup(place: Words, x: int) -> bool:
        return place[x] == IN

    @staticmethod
    def touch(queue: Words, ends: Words, spot: Words, key: Words, n: Words, x: int, now: int) -> None:
        move(queue, ends, spot, IN, x)
        key[x] = ((key[x] >> n[SHIFT]) + 1) << n[SHIFT] | now

    @staticmethod
    def miss(
        spot: Words, place: Words, key: Words, n: Words, weight: Reals, sizes: Words, x: int, now: int, rate: float
    ) -> None:
        at = place[x]
        if at != OUT:
            loss = exponential(-rate * exponential(LOG_DISCOUNT * (now - key[x]) / max(n[HELD], 1)))
            lru = weight[0]
            lfu = 1.0 - lru
            if at == GHOST_LRU:
                lru *= loss
            else:
                lfu *= loss
            weight[0] = min(max(lru / (lru + lfu), LEAST), 1.0 - LEAST)
            n[ROOM_LRU + at - GHOST_LRU] += sizes[x]
            leave(spot, x)
            place[x] = OUT

    @staticmethod
    def insert(
        queue: Words,
        ends: Words,
        spot: Words,
        heap_key: Words,
        heap_id: Words,
        heap_n: Words,
        filed: Words,
        place: Words,
        key: Words,
        n: Words,
        x: int,
        now: int,
    ) -> None:
        move(queue, ends, spot, IN, x)
        place[x] = IN
        key[x] = 1 << n[SHIFT] | now
        file(heap_key, heap_id, heap_n, filed, x, key[x])
        n[HELD] += 1

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
        n: Words,
        weight: Reals,
        draws: Words,
    ) -> int:
        lru = oldest(queue, ends, spot, IN)
        lfu = smallest(heap_key, heap_id, heap_n, filed, key)
        if lru == lfu:
            n[EXPERT] = OUT
            return lru
        if chance(draws) < weight[0]:
            n[EXPERT] = GHOST_LRU
            return lru
        n[EXPERT] = GHOST_LFU
        return lfu

    @staticmethod
    def evict(
        queue: Words,
        ends: Words,
        spot: Words,
        filed: Words,
        place: Words,
        key: Words,
        n: Words,
        sizes: Words,
        capacity: int,
        x: int,
        now: int,
    ) -> None:
        LeCar.remove(spot, filed, place, n, x)
        to = n[EXPERT]
        if to != OUT and sizes[x] <= capacity // 2:
            room = ROOM_LRU + to - GHOST_LRU
            while n[room] < sizes[x]:
                gone = oldest(queue, ends, spot, to)
                n[room] += sizes[gone]
                leave(spot, gone)
                place[gone] = OUT
            n[room] -= sizes[x]
            move(queue, ends, spot, to, x)
            place[x] = to
            key[x] = now

    @staticmethod
    def remove(spot: Words, filed: Words, place: Words, n: Words, x: int) -> None:
        n[HELD] -= 1
        leave(spot, x)
        withdraw(filed, x)
        place[x] = OUT

    @staticmethod
    def where(place: Words, x: int) -> int:
        return place[x]
