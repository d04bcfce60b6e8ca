"""W-TinyLFU: a window in front of a main cache that an object enters only when it is used more than what must go."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.queues import leave, move, oldest, queues
from tiersim.policies.object.sketch import count, counted, sketch

PAPER = "the paper"
OUT, WINDOW, PROBATION, PROTECTED = range(4)
WINDOW_MOST, PROTECTED_MOST = 4, 5  # in `n`, after the bytes of each place


@register(
    "w-tinylfu",
    family="object-replacement",
    aliases=("w-tiny-lfu", "window-tinylfu"),
    paper="Einziger, Friedman, Manes, ACM Transactions on Storage 13(4), 2017, doi:10.1145/3149371",
)
class WTinyLfu:
    """A small LRU window, and a main cache of two LRU segments that is entered by a contest of frequencies.

    What the window has no room for wants into the main cache; when that is full, the less frequent of it and the
    oldest object of the probationary segment leaves, the newcomer at a tie. A hit there lifts an object to the
    protected segment, whose oldest ones sink back. Frequencies are those of `tiersim.policies.object.sketch`: four
    rows of four-bit counters, sixteen for each object as in the authors' library (Caffeine), updated conservatively,
    halved after ten requests for each object that fits. The doorkeeper of the paper is off, as it is in Caffeine.

    The window is at least one object. An object larger than the window goes through it to the probationary segment, and
    what is larger than the protected segment is not lifted. The window keeps its size: its adaptation is another paper
    (Einziger et al., Middleware 2018). libCacheSim differs (its sources of 2024): its counters have no upper bound,
    raise all rows, forget at 32 uses for each object and do not count hits in the window, but each pass through it.
    """

    window: Annotated[int, Param("share of the window", unit="ratio", ge=1, le=10**9, source=PAPER)] = 10**7
    protected: Annotated[int, Param("share of the main cache", unit="ratio", ge=0, le=10**9, source=PAPER)] = 8 * 10**8
    doorkeeper: Annotated[bool, Param("keep first requests out of the sketch", source="Caffeine")] = False

    places: ClassVar[tuple[str, ...]] = ("out", "window", "probation", "protected")

    def state(self, objects: int, capacity: int, most: int) -> State:
        main = capacity * (10**9 - self.window) // 10**9
        n = np.zeros(6, np.int64)
        n[WINDOW_MOST] = capacity - main
        n[PROTECTED_MOST] = main * self.protected // 10**9
        state: State = {"place": np.zeros(objects, np.uint8), "n": n}
        return queues(4, most, objects) | sketch(most, self.doorkeeper) | state

    @staticmethod
    def lookup(place: Words, x: int) -> int:
        return place[x]

    @staticmethod
    def touch(
        queue: Words,
        ends: Words,
        spot: Words,
        sketch: Words,
        sketch_n: Words,
        door: Words,
        place: Words,
        n: Words,
        sizes: Words,
        x: int,
        size: int,
        capacity: int,
        doorkeeper: bool,
    ) -> None:
        count(sketch, sketch_n, door, x, size, capacity, doorkeeper)
        if place[x] == PROBATION and sizes[x] <= n[PROTECTED_MOST]:
            shift(queue, ends, spot, place, n, sizes, x, PROTECTED)
            while n[PROTECTED] > n[PROTECTED_MOST]:
                shift(queue, ends, spot, place, n, sizes, oldest(queue, ends, spot, PROTECTED), PROBATION)
        else:
            move(queue, ends, spot, place[x], x)

    @staticmethod
    def miss(sketch: Words, sketch_n: Words, door: Words, x: int, size: int, capacity: int, doorkeeper: bool) -> None:
        count(sketch, sketch_n, door, x, size, capacity, doorkeeper)

    @staticmethod
    def insert(queue: Words, ends: Words, spot: Words, place: Words, n: Words, sizes: Words, x: int, size: int) -> None:
        n[WINDOW] += size
        place[x] = WINDOW
        move(queue, ends, spot, WINDOW, x)
        while n[WINDOW] > n[WINDOW_MOST]:
            shift(queue, ends, spot, place, n, sizes, oldest(queue, ends, spot, WINDOW), PROBATION)

    @staticmethod
    def victim(
        queue: Words,
        ends: Words,
        spot: Words,
        sketch: Words,
        sketch_n: Words,
        door: Words,
        n: Words,
        size: int,
        doorkeeper: bool,
    ) -> int:
        held = oldest(queue, ends, spot, PROBATION)
        if held < 0:
            held = oldest(queue, ends, spot, PROTECTED)
        if n[WINDOW] + size <= n[WINDOW_MOST] and held >= 0:
            return held
        new = oldest(queue, ends, spot, WINDOW)
        if new < 0:
            return held
        if held < 0:
            return new
        uses = counted(sketch, sketch_n, door, new, doorkeeper)
        return held if uses > counted(sketch, sketch_n, door, held, doorkeeper) else new

    @staticmethod
    def remove(spot: Words, place: Words, n: Words, sizes: Words, x: int) -> None:
        n[place[x]] -= sizes[x]
        leave(spot, x)
        place[x] = OUT

    @staticmethod
    def where(place: Words, x: int) -> int:
        return place[x]


def shift(queue: Words, ends: Words, spot: Words, place: Words, n: Words, sizes: Words, x: int, to: int) -> None:
    """Make x the newest of another place."""
    n[place[x]] -= sizes[x]
    n[to] += sizes[x]
    place[x] = to
    move(queue, ends, spot, to, x)
