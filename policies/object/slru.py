"""Segmented LRU."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.queues import leave, move, oldest, queues

MOST = 8


@register(
    "slru",
    family="object-replacement",
    aliases=("segmented-lru", "s4lru"),
    paper="Karedla, Love, Wherry, IEEE Computer 27(3), 1994, doi:10.1109/2.268884",
)
class Slru:
    """LRU lists one above the other: a hit lifts an object by one, and what a list has no room for sinks by one.

    Evicts the oldest of the lowest list. The paper has a probationary and a protected list: ``segments: 2``,
    ``fill: false`` and the share it gives the protected one. Four of the same size are S4LRU (Huang et al.,
    SOSP 2013) and what libCacheSim 0.3.5 means by SLRU, with `fill`: as long as there is room an object enters the
    lowest list that is not full. Its misses are equal where all sizes are one and the capacity is a multiple of the
    segments. Elsewhere it evicts on hits, and refuses objects larger than a segment; here the lowest list has all the
    room that the others have not, and may be as large as the cache.
    """

    segments: Annotated[int, Param("number of lists", ge=2, le=MOST, source="Huang et al., SOSP 2013")] = 4
    protected: Annotated[
        int, Param("share of all lists but the lowest; 0: each list as large", unit="ratio", ge=0, le=10**9)
    ] = 0
    fill: Annotated[bool, Param("enter the lowest list with room, not the lowest", source="libCacheSim 0.3.5")] = True

    places: ClassVar[tuple[str, ...]] = ("out", "probation", *(f"protected-{k}" for k in range(1, MOST)))

    def state(self, objects: int, capacity: int, most: int) -> State:
        # n: for each list the bytes that it holds, then for each the bytes that it may hold
        n = np.zeros(2 * self.segments, np.int64)
        upper = self.segments - 1
        n[self.segments :] = capacity * self.protected // (10**9 * upper) if self.protected else capacity // (upper + 1)
        n[self.segments] = capacity - upper * n[-1]
        return queues(self.segments, most, objects) | {"place": np.zeros(objects, np.uint8), "n": n}

    @staticmethod
    def lookup(place: Words, x: int) -> int:
        return place[x]

    @staticmethod
    def touch(
        queue: Words, ends: Words, spot: Words, place: Words, n: Words, sizes: Words, x: int, segments: int
    ) -> None:
        at = place[x] - 1
        if at == segments - 1:
            move(queue, ends, spot, at, x)
            return
        n[at] -= sizes[x]
        at += 1
        n[at] += sizes[x]
        move(queue, ends, spot, at, x)
        place[x] = at + 1
        while at > 0:
            while n[at] > n[segments + at]:
                low = oldest(queue, ends, spot, at)
                n[at] -= sizes[low]
                n[at - 1] += sizes[low]
                move(queue, ends, spot, at - 1, low)
                place[low] = at
            at -= 1

    @staticmethod
    def insert(
        queue: Words, ends: Words, spot: Words, place: Words, n: Words, x: int, size: int, segments: int, fill: bool
    ) -> None:
        at = 0
        if fill:
            while at < segments and n[at] + size > n[segments + at]:
                at += 1
            if at == segments:
                at = 0
        n[at] += size
        move(queue, ends, spot, at, x)
        place[x] = at + 1

    @staticmethod
    def victim(queue: Words, ends: Words, spot: Words, segments: int) -> int:
        for at in range(segments):
            x = oldest(queue, ends, spot, at)
            if x >= 0:
                return x
        return -1

    @staticmethod
    def remove(spot: Words, place: Words, n: Words, sizes: Words, x: int) -> None:
        n[place[x] - 1] -= sizes[x]
        leave(spot, x)
        place[x] = 0

    @staticmethod
    def where(place: Words, x: int) -> int:
        return place[x]
