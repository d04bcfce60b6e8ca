"""S3-FIFO: three queues, each first in, first out."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words, oldest, push, rings, unlink

# the low two bits of a mark count uses, the rest is the place
OUT, GHOST, SMALL, MAIN = 0, 4, 8, 16
SMALL_BYTES, MAIN_BYTES, GHOST_BYTES, SMALL_MOST, GHOST_MOST, TO_MAIN = range(6)


@register("s3-fifo", family="object-replacement", paper="Yang et al., SOSP 2023, doi:10.1145/3600006.3613147")
class S3Fifo:
    """A small queue sifts what enters; what is used there, or comes back soon, goes to the main queue.

    Algorithm 1 of the paper: an object that leaves the small queue goes to the main queue when it was used more than
    `move` - 1 times and to the ghost queue otherwise; the main queue gives an object another round for each use, up to
    three. The ghost holds as many bytes as the main queue.
    """

    small: Annotated[int, Param("share of the small queue", unit="ratio", ge=1, le=10**9, source="the paper")] = 10**8
    ghost: Annotated[int, Param("bytes remembered of what left, as a share", unit="ratio", ge=0, source="the paper")] = (
        9 * 10**8
    )
    move: Annotated[int, Param("uses in the small queue that lead to the main one", ge=1, le=3, source="the paper")] = 2

    places: ClassVar[tuple[str, ...]] = ("out", "ghost", "small", "main")

    def state(self, objects: int, capacity: int) -> State:
        n = np.zeros(8, np.int64)
        n[SMALL_MOST] = capacity * self.small // 10**9
        n[GHOST_MOST] = capacity * self.ghost // 10**9
        return {"link": rings(objects, 3), "mark": np.zeros(objects, np.uint8), "n": n}

    @staticmethod
    def lookup(mark: Words, x: int) -> bool:
        return mark[x] >= SMALL

    @staticmethod
    def touch(mark: Words, x: int) -> None:
        if mark[x] & 3 < 3:
            mark[x] += 1

    @staticmethod
    def miss(link: Words, mark: Words, n: Words, sizes: Words, x: int) -> None:
        n[TO_MAIN] = mark[x] & GHOST
        if mark[x] & GHOST:
            n[GHOST_BYTES] -= sizes[x]
            unlink(link, x)
            mark[x] = OUT

    @staticmethod
    def insert(link: Words, mark: Words, n: Words, objects: int, x: int, size: int) -> None:
        if n[TO_MAIN]:
            n[MAIN_BYTES] += size
            push(link, objects + 1, x)
            mark[x] = MAIN
        else:
            n[SMALL_BYTES] += size
            push(link, objects, x)
            mark[x] = SMALL

    @staticmethod
    def victim(link: Words, mark: Words, n: Words, sizes: Words, objects: int, used: int, capacity: int, move: int) -> int:
        while True:
            # which queue is over its share; a small queue of no bytes at all lets everything through
            if n[MAIN_BYTES] > capacity - n[SMALL_MOST] or n[SMALL_BYTES] == 0:
                at = oldest(link, objects + 1)
                while mark[at] & 3:
                    mark[at] -= 1
                    unlink(link, at)
                    push(link, objects + 1, at)
                    at = oldest(link, objects + 1)
                return at
            at = oldest(link, objects)
            if mark[at] & 3 < move:
                return at
            unlink(link, at)
            n[SMALL_BYTES] -= sizes[at]
            push(link, objects + 1, at)
            mark[at] = MAIN
            n[MAIN_BYTES] += sizes[at]

    @staticmethod
    def evict(link: Words, mark: Words, n: Words, sizes: Words, objects: int, x: int) -> None:
        small = mark[x] & SMALL
        S3Fifo.remove(link, mark, n, sizes, x)
        if small and sizes[x] <= n[GHOST_MOST]:
            while n[GHOST_BYTES] + sizes[x] > n[GHOST_MOST]:
                gone = oldest(link, objects + 2)
                n[GHOST_BYTES] -= sizes[gone]
                unlink(link, gone)
                mark[gone] = OUT
            n[GHOST_BYTES] += sizes[x]
            push(link, objects + 2, x)
            mark[x] = GHOST

    @staticmethod
    def remove(link: Words, mark: Words, n: Words, sizes: Words, x: int) -> None:
        n[SMALL_BYTES if mark[x] & SMALL else MAIN_BYTES] -= sizes[x]
        unlink(link, x)
        mark[x] = OUT

    @staticmethod
    def where(mark: Words, x: int) -> int:
        return 3 if mark[x] >= MAIN else mark[x] >> 2
