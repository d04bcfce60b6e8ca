"""ARC, the adaptive replacement cache."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.object.contract import Reals, State, Words
from tiersim.policies.object.queues import leave, move, oldest, queues

# places and, from GHOST_ONCE on, queues: T1, T2, B1 and B2 of the paper
OUT, ONCE, OFTEN, GHOST_ONCE, GHOST_OFTEN = range(5)
CAME_FROM, ASKED = 0, 5  # in `bytes`, whose words 1 to 4 are the bytes in each queue


@register("arc", family="object-replacement", paper="Megiddo, Modha, FAST 2003, usenix.org/conference/fast-03")
class Arc:
    """Divides the cache between what was asked for once lately and what more often, as the misses teach it.

    Figure 4 of the paper. Two LRU lists, and a ghost of each that remembers what left it: a miss that one of the ghosts
    remembers makes the target for its list larger. The target is a real number, as in libCacheSim 0.3.5, whose misses
    are equal; the paper leaves open whether it is rounded. With sizes that differ all lists are measured in bytes, the
    target moves by the ratio of the ghosts and at least by one byte, and the oldest ghosts go one for each eviction.
    """

    places: ClassVar[tuple[str, ...]] = ("out", "recent", "frequent", "ghost-recent", "ghost-frequent")

    @staticmethod
    def state(objects: int, most: int) -> State:
        return queues(4, min(2 * most, objects), objects) | {
            "place": np.zeros(objects, np.uint8),
            "bytes": np.zeros(6, np.int64),
            "target": np.zeros(1, np.float64),
        }

    @staticmethod
    def lookup(place: Words, x: int) -> bool:
        return place[x] == ONCE or place[x] == OFTEN

    @staticmethod
    def touch(queue: Words, ends: Words, spot: Words, place: Words, bytes: Words, sizes: Words, x: int) -> None:
        if place[x] == ONCE:
            place[x] = OFTEN
            bytes[ONCE] -= sizes[x]
            bytes[OFTEN] += sizes[x]
        move(queue, ends, spot, OFTEN - 1, x)

    @staticmethod
    def miss(
        spot: Words, place: Words, bytes: Words, target: Reals, sizes: Words, capacity: int, x: int, size: int
    ) -> None:
        was = place[x]
        bytes[CAME_FROM] = was
        bytes[ASKED] = size
        if was == GHOST_ONCE:
            target[0] = min(target[0] + max(bytes[GHOST_OFTEN] / max(bytes[GHOST_ONCE], 1), 1.0), float(capacity))
        elif was == GHOST_OFTEN:
            target[0] = max(target[0] - max(bytes[GHOST_ONCE] / max(bytes[GHOST_OFTEN], 1), 1.0), 0.0)
        if was != OUT:
            bytes[was] -= sizes[x]
            leave(spot, x)
            place[x] = OUT

    @staticmethod
    def insert(queue: Words, ends: Words, spot: Words, place: Words, bytes: Words, x: int, size: int) -> None:
        to = ONCE if bytes[CAME_FROM] == OUT else OFTEN
        bytes[to] += size
        place[x] = to
        move(queue, ends, spot, to - 1, x)

    @staticmethod
    def victim(queue: Words, ends: Words, spot: Words, bytes: Words, target: Reals, capacity: int) -> int:
        once = bytes[ONCE]
        take_once = once > 0 and (once > target[0] or (once == target[0] and bytes[CAME_FROM] == GHOST_OFTEN))
        if full_of_once(bytes, capacity) and bytes[GHOST_ONCE] == 0:
            take_once = True
        x = oldest(queue, ends, spot, ONCE - 1 if take_once else OFTEN - 1)
        return x if x >= 0 else oldest(queue, ends, spot, OFTEN - 1 if take_once else ONCE - 1)

    @staticmethod
    def evict(
        queue: Words, ends: Words, spot: Words, place: Words, bytes: Words, sizes: Words, capacity: int, x: int
    ) -> None:
        to = place[x] + 2
        if bytes[CAME_FROM] == OUT:
            if full_of_once(bytes, capacity):
                if bytes[GHOST_ONCE] == 0:
                    to = OUT
                else:
                    forget(queue, ends, spot, place, bytes, sizes, GHOST_ONCE)
            elif bytes[ONCE] + bytes[OFTEN] + bytes[GHOST_ONCE] + bytes[GHOST_OFTEN] >= 2 * capacity:
                forget(queue, ends, spot, place, bytes, sizes, GHOST_OFTEN)
        bytes[place[x]] -= sizes[x]
        place[x] = to
        if to == OUT:
            leave(spot, x)
        else:
            bytes[to] += sizes[x]
            move(queue, ends, spot, to - 1, x)

    @staticmethod
    def remove(spot: Words, place: Words, bytes: Words, sizes: Words, x: int) -> None:
        bytes[place[x]] -= sizes[x]
        leave(spot, x)
        place[x] = OUT

    @staticmethod
    def where(place: Words, x: int) -> int:
        return place[x]


def full_of_once(bytes: Words, capacity: int) -> bool:
    """Case IV A: what was asked for once, and its ghost, leave no room in a cache's worth for one more."""
    return bytes[CAME_FROM] == OUT and bytes[ONCE] + bytes[GHOST_ONCE] + bytes[ASKED] > capacity


def forget(queue: Words, ends: Words, spot: Words, place: Words, bytes: Words, sizes: Words, ghost: int) -> None:
    """The oldest of a ghost is remembered no longer."""
    gone = oldest(queue, ends, spot, ghost - 1)
    if gone >= 0:
        bytes[ghost] -= sizes[gone]
        leave(spot, gone)
        place[gone] = OUT
