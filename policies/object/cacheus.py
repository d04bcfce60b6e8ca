"""Cacheus: learns whether a scan-resistant LRU or a churn-resistant LFU should evict, and how fast to learn it."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.object.chances import below, chance, draws, exponential
from tiersim.policies.object.contract import Reals, State, Words
from tiersim.policies.object.heaps import file, heap, smallest, withdraw
from tiersim.policies.object.queues import leave, move, oldest, queues

OUT, REUSED, PROBATION, PAST_LRU, PAST_LFU = range(5)
NEW, DEMOTED = 1, 2  # marks of an object
# in `n`, after how many objects there are in each place
REUSED_MOST, DEMOTED_ONES, NEW_ONES, EXPERT, BITS_OF_TIME, TIME, HITS, STALLED, WORSE, BACK = range(5, 15)
WEIGHT, RATE, RATE_BEFORE, RATE_FIRST, RATIO_BEFORE = range(5)  # in `learned`
PATIENCE = 10
LEAST_RATE = 0.001
LEAST_WEIGHT = 0.01


@register(
    "cacheus",
    family="object-replacement",
    paper="Rodriguez et al., Learning cache replacement with Cacheus, FAST 2021, usenix.org/conference/fast21",
)
class Cacheus:
    """Evicts what SR-LRU or what CR-LFU would, drawn by weights that are learned at a rate that adapts itself.

    SR-LRU has a list of what was reused and one on probation, where new objects and those that the former has no room
    for wait; its victim is the oldest on probation. A hit there to an object that had come down gives the reused list
    more room, and a miss of an object that was new when SR-LRU evicted it gives probation more. CR-LFU evicts the least
    often used, of equal ones the latest used. What leaves is remembered in the history of the expert that was drawn, in
    none when both agree, each half as large as the cache; a miss found there takes e^-rate from the weight of the
    expert, and its object comes back to the reused list with its uses. After as many requests as the cache holds
    objects the rate goes on in the direction that made more hits; without progress it starts again.

    Where the paper is silent, this is as in the program of its authors: probation begins with a hundredth of the cache,
    the first objects fill the reused list, the rate begins at sqrt(2 ln 2 / capacity), ratios are compared in
    thousandths, weights stay above 0.01. That program forgets to count the use that brings an object back; here it
    counts. libCacheSim begins with halves and a random rate (its sources of 2024), so that the misses of its version
    0.3.5 are other ones.
    """

    random: ClassVar[bool] = True
    unit_only: ClassVar[str] = "Cacheus moves the bound of its lists by objects, and is not defined for sizes"
    places: ClassVar[tuple[str, ...]] = ("out", "reused", "probation", "ghost-lru", "ghost-lfu")

    @staticmethod
    def state(objects: int, capacity: int, most: int, requests: int, seed: int) -> State:
        n = np.zeros(15, np.int64)
        n[REUSED_MOST] = capacity - max(1, (capacity + 50) // 100)
        n[BITS_OF_TIME] = (requests + 1).bit_length()
        first = math.sqrt(2 * math.log(2) / capacity)
        own: State = {
            "place": np.zeros(objects, np.uint8),
            "mark": np.zeros(objects, np.uint8),
            "key": np.zeros(objects, np.int64),  # uses above how much time was left at the last one
            "n": n,
            "learned": np.array([0.5, first, 0.0, min(max(first, LEAST_RATE), 1.0), 0.0]),
            "draws": draws(seed),
        }
        return queues(5, most, objects) | heap(most, objects) | own

    @staticmethod
    def lookup(place: Words, x: int) -> bool:
        return place[x] == REUSED or place[x] == PROBATION

    @staticmethod
    def touch(
        queue: Words,
        ends: Words,
        spot: Words,
        place: Words,
        mark: Words,
        key: Words,
        n: Words,
        learned: Reals,
        draws: Words,
        capacity: int,
        x: int,
    ) -> None:
        learn(n, learned, draws, capacity)
        n[HITS] += 1
        key[x] = used(n, (key[x] >> n[BITS_OF_TIME]) + 1)
        if place[x] == PROBATION:
            if mark[x] & DEMOTED:
                more = max(1, int(n[NEW_ONES] / max(1, n[DEMOTED_ONES]) + 0.5))
                n[REUSED_MOST] = min(capacity - 1, n[REUSED_MOST] + more)
                mark[x] ^= DEMOTED
                n[DEMOTED_ONES] -= 1
            n[PROBATION] -= 1
            n[REUSED] += 1
            place[x] = REUSED
        move(queue, ends, spot, REUSED, x)
        come_down(queue, ends, spot, place, mark, n)

    @staticmethod
    def miss(
        spot: Words,
        place: Words,
        mark: Words,
        key: Words,
        n: Words,
        learned: Reals,
        draws: Words,
        capacity: int,
        x: int,
    ) -> None:
        learn(n, learned, draws, capacity)
        at = place[x]
        n[BACK] = 0
        if at != OUT:
            n[BACK] = 1
            if mark[x] & NEW and at == PAST_LRU:
                n[NEW_ONES] -= 1
                more = max(1, int(n[DEMOTED_ONES] / max(1, n[NEW_ONES]) + 0.5))
                n[REUSED_MOST] = max(1, n[REUSED_MOST] - more) if capacity > 1 else 0
            lru = learned[WEIGHT]
            lfu = 1.0 - lru
            if at == PAST_LRU:
                lru *= exponential(-learned[RATE])
            else:
                lfu *= exponential(-learned[RATE])
            learned[WEIGHT] = min(max(lru / (lru + lfu), LEAST_WEIGHT), 1.0 - LEAST_WEIGHT)
            n[at] -= 1
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
        mark: Words,
        key: Words,
        n: Words,
        capacity: int,
        x: int,
    ) -> None:
        uses = 1
        to = PROBATION
        mark[x] = 0
        if n[BACK]:
            uses = (key[x] >> n[BITS_OF_TIME]) + 1
            to = REUSED
        elif n[REUSED] < n[REUSED_MOST] and n[PROBATION] == 0:
            to = REUSED
        elif n[REUSED] + n[PROBATION] == capacity - 1 or n[PROBATION] >= capacity - n[REUSED_MOST]:
            mark[x] = NEW
        key[x] = used(n, uses)
        n[to] += 1
        place[x] = to
        move(queue, ends, spot, to, x)
        file(heap_key, heap_id, heap_n, filed, x, key[x])
        come_down(queue, ends, spot, place, mark, n)

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
        learned: Reals,
        draws: Words,
    ) -> int:
        lru = oldest(queue, ends, spot, PROBATION)
        if lru < 0:
            lru = oldest(queue, ends, spot, REUSED)
        lfu = smallest(heap_key, heap_id, heap_n, filed, key)
        if lru == lfu:
            n[EXPERT] = OUT
            return lru
        if chance(draws) < learned[WEIGHT]:
            n[EXPERT] = PAST_LRU
            return lru
        n[EXPERT] = PAST_LFU
        return lfu

    @staticmethod
    def evict(
        queue: Words,
        ends: Words,
        spot: Words,
        filed: Words,
        place: Words,
        mark: Words,
        n: Words,
        capacity: int,
        x: int,
    ) -> None:
        Cacheus.remove(spot, filed, place, mark, n, x)
        to = n[EXPERT]
        if to != OUT and capacity > 1:
            if n[to] == capacity // 2:
                gone = oldest(queue, ends, spot, to)
                if to == PAST_LRU and mark[gone] & NEW:
                    n[NEW_ONES] -= 1
                n[to] -= 1
                leave(spot, gone)
                place[gone] = OUT
            if to == PAST_LRU and mark[x] & NEW:
                n[NEW_ONES] += 1
            n[to] += 1
            move(queue, ends, spot, to, x)
            place[x] = to

    @staticmethod
    def remove(spot: Words, filed: Words, place: Words, mark: Words, n: Words, x: int) -> None:
        if mark[x] & DEMOTED:
            mark[x] ^= DEMOTED
            n[DEMOTED_ONES] -= 1
        n[place[x]] -= 1
        leave(spot, x)
        withdraw(filed, x)
        place[x] = OUT

    @staticmethod
    def where(place: Words, x: int) -> int:
        return place[x]


def used(n: Words, uses: int) -> int:
    """The key of an object used so often, and now: smaller than that of one used as often earlier."""
    return (uses + 1 << n[BITS_OF_TIME]) - 1 - n[TIME]


def come_down(queue: Words, ends: Words, spot: Words, place: Words, mark: Words, n: Words) -> None:
    """Send to probation what the reused list has no room for."""
    while n[REUSED] > n[REUSED_MOST]:
        x = oldest(queue, ends, spot, REUSED)
        n[REUSED] -= 1
        n[PROBATION] += 1
        n[DEMOTED_ONES] += 1
        mark[x] |= DEMOTED
        place[x] = PROBATION
        move(queue, ends, spot, PROBATION, x)


def thousandths(x: float) -> float:
    """A number that is not negative, rounded to three digits."""
    return int(x * 1000.0 + 0.5) / 1000.0


def learn(n: Words, learned: Reals, draws: Words, capacity: int) -> None:
    """Let time pass, and adapt the rate at the end of each period."""
    n[TIME] += 1
    if n[TIME] % capacity != 0:
        return
    ratio = thousandths(n[HITS] / capacity)
    gain = ratio - learned[RATIO_BEFORE]
    rate = learned[RATE]
    step = thousandths(rate) - thousandths(learned[RATE_BEFORE])
    learned[RATE_BEFORE] = rate
    if gain * step > 0.0:
        rate = min(rate + rate * max(step, -step), 1.0)
        n[STALLED] = n[WORSE] = 0
    elif gain * step < 0.0:
        rate = max(rate - rate * max(step, -step), LEAST_RATE)
        n[STALLED] = n[WORSE] = 0
    elif gain < 0.0 or (gain == 0.0 and ratio == 0.0):
        n[STALLED] += 1
        if gain < 0.0:
            n[WORSE] += 1
        if n[STALLED] >= PATIENCE:
            rate = learned[RATE_FIRST]
            n[STALLED] = 0
        elif gain < 0.0:
            if n[WORSE] >= PATIENCE:
                rate = learned[RATE_FIRST]
                n[WORSE] = 0
            elif rate >= 1.0:
                rate = 0.9
            elif rate <= LEAST_RATE:
                rate = 0.005
            elif below(draws, 2) == 0:
                rate = min(rate * 1.25, 1.0)
            else:
                rate = max(rate * 0.75, LEAST_RATE)
    learned[RATE] = rate
    learned[RATIO_BEFORE] = ratio
    n[HITS] = 0
