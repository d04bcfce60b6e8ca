"""S3-FIFO: three queues, each first in, first out."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.queues import leave, move, oldest, queues

# the low two bits of a mark count uses, the rest is the place
OUT, GHOST, SMALL, MAIN = 0, 4, 8, 16
PAPER = "the paper"
SMALL_QUEUE, MAIN_QUEUE, GHOST_QUEUE = range(3)
SMALL_BYTES, MAIN_BYTES, GHOST_BYTES, SMALL_MOST, GHOST_MOST, TO_MAIN, FILLED = range(7)


@register("s3-fifo", family="object-replacement", paper="Yang et al., SOSP 2023, doi:10.1145/3600006.3613147")
class S3Fifo:
    """A small queue sifts what enters; what is used there, or comes back soon, goes to the main queue.

    Algorithm 1 of the paper: an object that gets to the end of the small queue goes to the main queue when it was used
    `move_at` times, and out and into the ghost queue otherwise; the main queue gives an object another round for each
    use there, up to three. An object that is in the ghost when it comes back goes to the main queue.

    Two choices are those of the authors' library (libCacheSim 0.3.5), whose misses are equal: uses are counted anew in
    the main queue, and (`fill`) until something is evicted for the first time, what the small queue has no share for
    goes to the main queue; ``fill: false`` is the paper.
    """

    small: Annotated[int, Param("share of the small queue", unit="ratio", ge=1, le=10**9, source=PAPER)] = 10**8
    ghost: Annotated[int, Param("share remembered of what left", unit="ratio", ge=0, source=PAPER)] = 9 * 10**8
    move_at: Annotated[int, Param("uses in the small queue that lead to the main one", ge=1, le=3, source=PAPER)] = 2
    fill: Annotated[bool, Param("let the first objects fill the main queue too", source="the authors' library")] = True

    places: ClassVar[tuple[str, ...]] = ("out", "ghost", "small", "main")

    def state(self, objects: int, capacity: int, most: int) -> State:
        n = np.zeros(7, np.int64)
        n[SMALL_MOST] = capacity * self.small // 10**9
        n[GHOST_MOST] = capacity * self.ghost // 10**9
        return queues(3, most, objects) | {"mark": np.zeros(objects, np.uint8), "n": n}

    @staticmethod
    def lookup(mark: Words, x: int) -> bool:
        return mark[x] >= SMALL

    @staticmethod
    def touch(mark: Words, x: int) -> None:
        if mark[x] & 3 < 3:
            mark[x] += 1

    @staticmethod
    def miss(spot: Words, mark: Words, n: Words, sizes: Words, x: int) -> None:
        n[TO_MAIN] = mark[x]
        if mark[x] == GHOST:
            n[GHOST_BYTES] -= sizes[x]
            leave(spot, x)
            mark[x] = OUT

    @staticmethod
    def insert(queue: Words, ends: Words, spot: Words, mark: Words, n: Words, x: int, size: int, fill: bool) -> None:
        if n[TO_MAIN] or (fill and not n[FILLED] and n[SMALL_BYTES] >= n[SMALL_MOST]):
            n[MAIN_BYTES] += size
            move(queue, ends, spot, MAIN_QUEUE, x)
            mark[x] = MAIN
        else:
            n[SMALL_BYTES] += size
            move(queue, ends, spot, SMALL_QUEUE, x)
            mark[x] = SMALL

    @staticmethod
    def victim(
        queue: Words, ends: Words, spot: Words, mark: Words, n: Words, sizes: Words, capacity: int, move_at: int
    ) -> int:
        if n[MAIN_BYTES] <= capacity - n[SMALL_MOST]:
            x = oldest(queue, ends, spot, SMALL_QUEUE)
            while x >= 0:
                if mark[x] & 3 < move_at:
                    return x
                n[SMALL_BYTES] -= sizes[x]
                n[MAIN_BYTES] += sizes[x]
                move(queue, ends, spot, MAIN_QUEUE, x)
                mark[x] = MAIN
                x = oldest(queue, ends, spot, SMALL_QUEUE)
        x = oldest(queue, ends, spot, MAIN_QUEUE)
        while mark[x] & 3:
            mark[x] -= 1
            move(queue, ends, spot, MAIN_QUEUE, x)
            x = oldest(queue, ends, spot, MAIN_QUEUE)
        return x

    @staticmethod
    def evict(queue: Words, ends: Words, spot: Words, mark: Words, n: Words, sizes: Words, x: int) -> None:
        small = mark[x] < MAIN
        n[FILLED] = 1
        S3Fifo.remove(spot, mark, n, sizes, x)
        if small and sizes[x] <= n[GHOST_MOST]:
            while n[GHOST_BYTES] + sizes[x] > n[GHOST_MOST]:
                gone = oldest(queue, ends, spot, GHOST_QUEUE)
                n[GHOST_BYTES] -= sizes[gone]
                leave(spot, gone)
                mark[gone] = OUT
            n[GHOST_BYTES] += sizes[x]
            move(queue, ends, spot, GHOST_QUEUE, x)
            mark[x] = GHOST

    @staticmethod
    def remove(spot: Words, mark: Words, n: Words, sizes: Words, x: int) -> None:
        if mark[x] < MAIN:
            n[SMALL_BYTES] -= sizes[x]
        else:
            n[MAIN_BYTES] -= sizes[x]
        leave(spot, x)
        mark[x] = OUT

    @staticmethod
    def where(mark: Words, x: int) -> int:
        return 3 if mark[x] >= MAIN else mark[x] >> 2
