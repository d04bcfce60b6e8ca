"""LIRS, low inter-reference recency set."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.queues import leave, move, oldest, queues

# GONE: a non-resident HIR block, in the stack only. HIR: resident, in the queue and perhaps in the stack
OUT, GONE, HIR, LIR = range(4)
# in `n`: bytes of the LIR blocks and of what the stack tells of, and of the object asked for when it was here
HOT, LIR_MOST, STACK, STACK_MOST, HAD = range(5)
WAITING, LEFT = 0, 1  # queues besides the stack: Q of the paper, and what is GONE, by time of leaving


@register("lirs", family="object-replacement", paper="Jiang, Zhang, SIGMETRICS 2002, doi:10.1145/511334.511340")
class Lirs:
    """Keeps what has come back after few other objects, and lends a small share of the cache to all the others.

    A stack orders by last use what is in the first set (LIR) and what was asked for since the oldest of it was. An
    object of the second set (HIR) that is asked for again while it is in the stack goes to the first, whose oldest goes
    to the second; a queue orders the second by last entry, and its oldest is evicted.

    The paper puts no bound on the stack; here it tells of `stack` times the capacity at the most, and forgets first
    what was evicted longest ago. libCacheSim 0.3.5 does so too, but there a hit on an object that is in the queue only
    sends the oldest of the first set to the second, though nothing comes in its place; up to the first such hit the
    outcomes are equal, and this is the paper.
    """

    second: Annotated[int, Param("share of the second set", unit="ratio", ge=0, le=10**9, source="the paper")] = 10**7
    stack: Annotated[
        int, Param("bound of the stack, in capacities", unit="ratio", ge=10**9, source="libCacheSim 0.3.5")
    ] = 2 * 10**9

    places: ClassVar[tuple[str, ...]] = ("out", "ghost", "second", "first")

    def state(self, objects: int, capacity: int, most: int) -> State:
        n = np.zeros(5, np.int64)
        n[LIR_MOST] = capacity - max(1, capacity * self.second // 10**9)
        n[STACK_MOST] = capacity * self.stack // 10**9
        deep = min(objects, most * self.stack // 10**9 + 1)
        stack = {"s" + name: array for name, array in queues(1, deep, objects).items()}
        return queues(2, deep, objects) | stack | {"place": np.zeros(objects, np.uint8), "n": n}

    @staticmethod
    def lookup(place: Words, x: int) -> bool:
        return place[x] >= HIR

    @staticmethod
    def touch(
        queue: Words,
        ends: Words,
        spot: Words,
        squeue: Words,
        sends: Words,
        sspot: Words,
        place: Words,
        n: Words,
        sizes: Words,
        x: int,
    ) -> None:
        known = sspot[x] >= 0
        move(squeue, sends, sspot, 0, x)
        if place[x] == LIR:
            prune(spot, squeue, sends, sspot, place, n, sizes)
        elif known:
            leave(spot, x)
            place[x] = LIR
            n[HOT] += sizes[x]
            demote(queue, ends, spot, squeue, sends, sspot, place, n, sizes)
        else:
            n[STACK] += sizes[x]
            move(queue, ends, spot, WAITING, x)
            bound(queue, ends, spot, sspot, place, n, sizes)

    @staticmethod
    def miss(n: Words, sizes: Words, x: int) -> None:
        n[HAD] = sizes[x]

    @staticmethod
    def insert(
        queue: Words,
        ends: Words,
        spot: Words,
        squeue: Words,
        sends: Words,
        sspot: Words,
        place: Words,
        n: Words,
        sizes: Words,
        x: int,
        size: int,
    ) -> None:
        known = sspot[x] >= 0
        leave(spot, x)
        move(squeue, sends, sspot, 0, x)
        n[STACK] += size - n[HAD] if known else size
        if known or n[HOT] + size <= n[LIR_MOST]:
            place[x] = LIR
            n[HOT] += size
            demote(queue, ends, spot, squeue, sends, sspot, place, n, sizes)
        else:
            place[x] = HIR
            move(queue, ends, spot, WAITING, x)
        bound(queue, ends, spot, sspot, place, n, sizes)

    @staticmethod
    def victim(queue: Words, ends: Words, spot: Words, squeue: Words, sends: Words, sspot: Words) -> int:
        x = oldest(queue, ends, spot, WAITING)
        return x if x >= 0 else oldest(squeue, sends, sspot, 0)

    @staticmethod
    def evict(
        queue: Words,
        ends: Words,
        spot: Words,
        squeue: Words,
        sends: Words,
        sspot: Words,
        place: Words,
        n: Words,
        sizes: Words,
        x: int,
    ) -> None:
        if place[x] == HIR and sspot[x] >= 0:
            place[x] = GONE
            move(queue, ends, spot, LEFT, x)
        else:
            Lirs.remove(spot, squeue, sends, sspot, place, n, sizes, x)

    @staticmethod
    def remove(
        spot: Words, squeue: Words, sends: Words, sspot: Words, place: Words, n: Words, sizes: Words, x: int
    ) -> None:
        if sspot[x] >= 0:
            leave(sspot, x)
            n[STACK] -= sizes[x]
        leave(spot, x)
        if place[x] == LIR:
            n[HOT] -= sizes[x]
        place[x] = OUT
        prune(spot, squeue, sends, sspot, place, n, sizes)

    @staticmethod
    def where(place: Words, x: int) -> int:
        return place[x]


def prune(spot: Words, squeue: Words, sends: Words, sspot: Words, place: Words, n: Words, sizes: Words) -> None:
    """Take from the bottom of the stack whatever is not LIR."""
    x = oldest(squeue, sends, sspot, 0)
    while x >= 0 and place[x] != LIR:
        leave(sspot, x)
        n[STACK] -= sizes[x]
        if place[x] == GONE:
            leave(spot, x)
            place[x] = OUT
        x = oldest(squeue, sends, sspot, 0)


def demote(
    queue: Words,
    ends: Words,
    spot: Words,
    squeue: Words,
    sends: Words,
    sspot: Words,
    place: Words,
    n: Words,
    sizes: Words,
) -> None:
    """Make HIR what the LIR set has no room for, from the bottom of the stack."""
    prune(spot, squeue, sends, sspot, place, n, sizes)
    while n[HOT] > n[LIR_MOST]:
        x = oldest(squeue, sends, sspot, 0)
        leave(sspot, x)
        n[STACK] -= sizes[x]
        n[HOT] -= sizes[x]
        place[x] = HIR
        move(queue, ends, spot, WAITING, x)
        prune(spot, squeue, sends, sspot, place, n, sizes)


def bound(queue: Words, ends: Words, spot: Words, sspot: Words, place: Words, n: Words, sizes: Words) -> None:
    """Forget what left longest ago while the stack tells of too much."""
    while n[STACK] > n[STACK_MOST]:
        x = oldest(queue, ends, spot, LEFT)
        if x < 0:
            return
        leave(spot, x)
        leave(sspot, x)
        n[STACK] -= sizes[x]
        place[x] = OUT
