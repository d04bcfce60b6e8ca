"""2Q, two queues."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.queues import leave, move, oldest, queues

PAPER = "the paper"
OUT, GHOST, IN, MAIN = range(4)  # A1out, A1in and Am of the paper
BYTES, IN_MOST, GHOST_MOST, FROM_GHOST = 0, 4, 5, 6  # in `n`; words 1 to 3 are the bytes in each queue


@register("2q", family="object-replacement", aliases=("two-q",), paper="Johnson, Shasha, VLDB 1994, vldb.org/conf/1994")
class TwoQ:
    """A short queue takes what is new; what is asked for again after it left that goes to an LRU list.

    The full version of the paper, with its sizes. As long as the short queue, first in, first out, has more than its
    share it gives the victim, which a ghost remembers; else the LRU list does. A hit in the short queue changes
    nothing: references that follow one another closely count as one.

    As in libCacheSim 0.3.5, whose misses are equal, an object leaves the ghost before room is made for it (the paper
    does not say). That library refuses objects larger than the short queue's share, so that it holds nothing at all
    where the share is less than one object; here they are let in.
    """

    short: Annotated[int, Param("share of the short queue", unit="ratio", ge=0, le=10**9, source="the paper")] = (
        25 * 10**7
    )
    ghost: Annotated[int, Param("share remembered of what left it", unit="ratio", ge=0, source="the paper")] = 5 * 10**8

    places: ClassVar[tuple[str, ...]] = ("out", "ghost", "short", "main")

    def state(self, objects: int, capacity: int, most: int) -> State:
        n = np.zeros(7, np.int64)
        n[IN_MOST] = capacity * self.short // 10**9
        n[GHOST_MOST] = capacity * self.ghost // 10**9
        ghosts = min(objects, max(most, most * self.ghost // 10**9))
        return queues(3, ghosts, objects) | {"place": np.zeros(objects, np.uint8), "n": n}

    @staticmethod
    def lookup(place: Words, x: int) -> bool:
        return place[x] >= IN

    @staticmethod
    def touch(queue: Words, ends: Words, spot: Words, place: Words, x: int) -> None:
        if place[x] == MAIN:
            move(queue, ends, spot, MAIN - 1, x)

    @staticmethod
    def miss(spot: Words, place: Words, n: Words, sizes: Words, x: int) -> None:
        n[FROM_GHOST] = place[x]
        if place[x] == GHOST:
            TwoQ.remove(spot, place, n, sizes, x)

    @staticmethod
    def insert(queue: Words, ends: Words, spot: Words, place: Words, n: Words, x: int, size: int) -> None:
        enter(queue, ends, spot, place, n, x, size, MAIN if n[FROM_GHOST] else IN)

    @staticmethod
    def victim(queue: Words, ends: Words, spot: Words, n: Words) -> int:
        x = oldest(queue, ends, spot, MAIN - 1) if n[IN] <= n[IN_MOST] else -1
        return x if x >= 0 else oldest(queue, ends, spot, IN - 1)

    @staticmethod
    def evict(queue: Words, ends: Words, spot: Words, place: Words, n: Words, sizes: Words, x: int) -> None:
        was = place[x]
        TwoQ.remove(spot, place, n, sizes, x)
        if was == IN and sizes[x] <= n[GHOST_MOST]:
            while n[GHOST] + sizes[x] > n[GHOST_MOST]:
                TwoQ.remove(spot, place, n, sizes, oldest(queue, ends, spot, GHOST - 1))
            enter(queue, ends, spot, place, n, x, sizes[x], GHOST)

    @staticmethod
    def remove(spot: Words, place: Words, n: Words, sizes: Words, x: int) -> None:
        n[place[x]] -= sizes[x]
        leave(spot, x)
        place[x] = OUT

    @staticmethod
    def where(place: Words, x: int) -> int:
        return place[x]


def enter(queue: Words, ends: Words, spot: Words, place: Words, n: Words, x: int, size: int, to: int) -> None:
    n[to] += size
    place[x] = to
    move(queue, ends, spot, to - 1, x)
