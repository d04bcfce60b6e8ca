"""CAR, CLOCK with adaptive replacement."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.object.contract import Reals, State, Words
from tiersim.policies.object.queues import leave, move, oldest, queues

# places, and queues from GHOST_ONCE on: T1, T2, B1 and B2 of the paper
OUT, ONCE, OFTEN, GHOST_ONCE, GHOST_OFTEN = range(5)
HAD = 0  # in `bytes`, whose words 1 to 4 are the bytes in each queue: those of the object asked for, when it was here


@register("car", family="object-replacement", paper="Bansal, Modha, FAST 2004, usenix.org/conference/fast-04")
class Car:
    """ARC with CLOCKs for its two lists: a hit only marks the object, and does not move it.

    Figure 2 of the paper. A hand that finds a mark takes it away and passes the object to the clock of what was used
    more often; one that finds none evicts, and a ghost remembers. A miss that a ghost remembers moves the target for
    the first clock after the victim is chosen. The target is a real number, as in our ARC; the paper leaves it open.
    With sizes that differ the lists are measured in bytes, and as many of the oldest ghosts are forgotten as it takes.
    """

    places: ClassVar[tuple[str, ...]] = ("out", "recent", "frequent", "ghost-recent", "ghost-frequent")

    @staticmethod
    def state(objects: int, most: int) -> State:
        # mark: whether it was used since the hand came by
        return queues(4, min(2 * most, objects), objects) | {
            "place": np.zeros(objects, np.uint8),
            "mark": np.zeros(objects, np.uint8),
            "bytes": np.zeros(5, np.int64),  # in each place
            "target": np.zeros(1, np.float64),
        }

    @staticmethod
    def lookup(place: Words, x: int) -> bool:
        return place[x] == ONCE or place[x] == OFTEN

    @staticmethod
    def touch(mark: Words, x: int) -> None:
        mark[x] = 1

    @staticmethod
    def miss(bytes: Words, sizes: Words, x: int) -> None:
        bytes[HAD] = sizes[x]

    @staticmethod
    def victim(
        queue: Words, ends: Words, spot: Words, place: Words, mark: Words, bytes: Words, target: Reals, sizes: Words
    ) -> int:
        while True:
            first = bytes[ONCE] >= target[0] and bytes[ONCE] > 0
            x = oldest(queue, ends, spot, ONCE - 1 if first else OFTEN - 1)
            if x < 0:
                x = oldest(queue, ends, spot, OFTEN - 1 if first else ONCE - 1)
            if not mark[x]:
                return x
            bytes[place[x]] -= sizes[x]
            bytes[OFTEN] += sizes[x]
            place[x] = OFTEN
            mark[x] = 0
            move(queue, ends, spot, OFTEN - 1, x)

    @staticmethod
    def evict(queue: Words, ends: Words, spot: Words, place: Words, bytes: Words, sizes: Words, x: int) -> None:
        bytes[place[x]] -= sizes[x]
        place[x] += 2
        bytes[place[x]] += sizes[x]
        move(queue, ends, spot, place[x] - 1, x)

    @staticmethod
    def insert(
        queue: Words,
        ends: Words,
        spot: Words,
        place: Words,
        mark: Words,
        bytes: Words,
        target: Reals,
        sizes: Words,
        capacity: int,
        x: int,
        size: int,
    ) -> None:
        was = place[x]
        to = OFTEN
        if was == OUT:
            to = ONCE
            while bytes[ONCE] + bytes[GHOST_ONCE] + size > capacity and bytes[GHOST_ONCE] > 0:
                forget(queue, ends, spot, place, bytes, sizes, GHOST_ONCE)
            while bytes[1] + bytes[2] + bytes[3] + bytes[4] + size > 2 * capacity and bytes[GHOST_OFTEN] > 0:
                forget(queue, ends, spot, place, bytes, sizes, GHOST_OFTEN)
        else:
            if was == GHOST_ONCE:
                target[0] = min(target[0] + max(bytes[GHOST_OFTEN] / max(bytes[GHOST_ONCE], 1), 1.0), float(capacity))
            else:
                target[0] = max(target[0] - max(bytes[GHOST_ONCE] / max(bytes[GHOST_OFTEN], 1), 1.0), 0.0)
            bytes[was] -= bytes[HAD]
        place[x] = to
        mark[x] = 0
        bytes[to] += size
        move(queue, ends, spot, to - 1, x)

    @staticmethod
    def remove(spot: Words, place: Words, bytes: Words, sizes: Words, x: int) -> None:
        bytes[place[x]] -= sizes[x]
        leave(spot, x)
        place[x] = OUT

    @staticmethod
    def where(place: Words, x: int) -> int:
        return place[x]


def forget(queue: Words, ends: Words, spot: Words, place: Words, bytes: Words, sizes: Words, ghost: int) -> None:
    """The oldest of a ghost is remembered no longer."""
    gone = oldest(queue, ends, spot, ghost - 1)
    bytes[ghost] -= sizes[gone]
    leave(spot, gone)
    place[gone] = OUT
