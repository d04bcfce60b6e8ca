"""MQ, multi-queue replacement."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.contract import NEVER, State, Words
from tiersim.policies.object.lists import push, rings, unlink
from tiersim.policies.object.queues import leave, move, oldest, queues

OUT, GHOST, FIRST = range(3)  # places; the queues of the paper are FIRST, FIRST + 1 ...
MOST = 16
GHOST_BYTES, GHOST_MOST, DUE = range(3)  # in `n`; DUE: no block expires before


@register("mq", family="object-replacement", aliases=("multi-queue",), paper="Zhou, Philbin, Li, USENIX ATC 2001")
class Mq:
    """LRU queues by the logarithm of how often an object was used, which sinks by one queue when it is left unused.

    Figure 3 of the paper, with its eight queues, and a ghost that remembers how often what left it had been used. The
    victim is the oldest of the lowest queue that has any. An object that was not used for `life` requests goes to the
    newest end of the queue below, at most one from each queue at a request.
    """

    levels: Annotated[int, Param("number of queues", ge=1, le=MOST, source="the paper")] = 8
    life: Annotated[int, Param("requests after which an object sinks", ge=1, source="libCacheSim 0.3.5")] = 10000
    ghost: Annotated[int, Param("share remembered of what left", unit="ratio", ge=0, source="the paper")] = 4 * 10**9

    places: ClassVar[tuple[str, ...]] = ("out", "ghost", *(f"q{k}" for k in range(MOST)))

    def state(self, objects: int, capacity: int, most: int) -> State:
        n = np.zeros(3, np.int64)
        n[GHOST_MOST] = capacity * self.ghost // 10**9
        n[DUE] = NEVER
        ghosts = min(objects, most * self.ghost // 10**9 + 1)
        return queues(1, ghosts, objects) | {
            "link": rings(objects, self.levels),
            "place": np.zeros(objects, np.uint8),
            "uses": np.zeros(objects, np.int64),
            "expires": np.zeros(objects, np.int64),
            "n": n,
        }

    @staticmethod
    def lookup(place: Words, x: int) -> bool:
        return place[x] >= FIRST

    @staticmethod
    def touch(
        link: Words,
        place: Words,
        uses: Words,
        expires: Words,
        n: Words,
        objects: int,
        x: int,
        now: int,
        levels: int,
        life: int,
    ) -> None:
        unlink(link, x)
        enter(link, place, uses, expires, n, objects, x, now, levels, life)

    @staticmethod
    def miss(spot: Words, place: Words, uses: Words, n: Words, sizes: Words, x: int) -> None:
        if place[x] == GHOST:
            n[GHOST_BYTES] -= sizes[x]
            leave(spot, x)
            place[x] = OUT
        else:
            uses[x] = 0

    @staticmethod
    def insert(
        link: Words,
        place: Words,
        uses: Words,
        expires: Words,
        n: Words,
        objects: int,
        x: int,
        now: int,
        levels: int,
        life: int,
    ) -> None:
        enter(link, place, uses, expires, n, objects, x, now, levels, life)

    @staticmethod
    def victim(link: Words, objects: int, levels: int) -> int:
        for k in range(levels):
            x = link[2 * (objects + k)]
            if x < objects:
                return x
        return -1

    @staticmethod
    def evict(
        queue: Words, ends: Words, spot: Words, link: Words, place: Words, n: Words, sizes: Words, x: int
    ) -> None:
        Mq.remove(link, place, x)
        if sizes[x] <= n[GHOST_MOST]:
            while n[GHOST_BYTES] + sizes[x] > n[GHOST_MOST]:
                gone = oldest(queue, ends, spot, 0)
                n[GHOST_BYTES] -= sizes[gone]
                leave(spot, gone)
                place[gone] = OUT
            n[GHOST_BYTES] += sizes[x]
            move(queue, ends, spot, 0, x)
            place[x] = GHOST

    @staticmethod
    def remove(link: Words, place: Words, x: int) -> None:
        unlink(link, x)
        place[x] = OUT

    @staticmethod
    def where(place: Words, x: int) -> int:
        return place[x]


def enter(
    link: Words,
    place: Words,
    uses: Words,
    expires: Words,
    n: Words,
    objects: int,
    x: int,
    now: int,
    levels: int,
    life: int,
) -> None:
    """Count a use of x, put it where it belongs, and let sink what is due."""
    uses[x] += 1
    k = 0
    while k < levels - 1 and uses[x] >> (k + 1):
        k += 1
    push(link, objects + k, x)
    place[x] = FIRST + k
    expires[x] = now + life
    n[DUE] = min(n[DUE], now + life)
    if n[DUE] <= now:
        sink(link, place, expires, n, objects, now, levels, life)


def sink(link: Words, place: Words, expires: Words, n: Words, objects: int, now: int, levels: int, life: int) -> None:
    """The oldest of each queue goes to the queue below when it is due. The paper's clock is one ahead of `now`."""
    for k in range(1, levels):
        x = link[2 * (objects + k)]
        if x < objects and expires[x] <= now:
            unlink(link, x)
            push(link, objects + k - 1, x)
            place[x] = FIRST + k - 1
            expires[x] = now + 1 + life
    due = NEVER
    for k in range(1, levels):
        x = link[2 * (objects + k)]
        if x < objects:
            due = min(due, expires[x])
    n[DUE] = due
