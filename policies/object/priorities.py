"""The object with the lowest priority, a real number; of equal ones the object whose priority was set longest ago.

`worth[x]` and `since[x]` are the priority of x and the request that set it. What is filed about x in the heap may be
older, and so lower: a priority that rises is only stored, and filed anew when its entry gets to the top. The heap lies
in `heap_worth`, `heap_since` and `heap_id`; ``filed[x]`` is the request under which x is filed, -1 when it is not, and
an entry of another request is stale. ``heap_n`` counts the entries, and says how many there may be.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim.policies.object.contract import Reals, Words

__all__ = ["enter", "forget", "lowest", "priorities", "renew"]

ROOM = 2  # entries for each object that can be in the heap, half of them stale at the most when it is cleared up


def priorities(most: int, objects: int) -> dict[str, NDArray[Any]]:
    """The arrays for so many objects, `most` of which are in the heap at once."""
    room = ROOM * max(most, 4)
    return {
        "worth": np.zeros(objects, np.float64),
        "since": np.full(objects, -1, np.int64),
        "filed": np.full(objects, -1, np.int64),
        "heap_worth": np.zeros(room, np.float64),
        "heap_since": np.zeros(room, np.int64),
        "heap_id": np.zeros(room, np.int32),
        "heap_n": np.array([0, room], np.int64),
    }


def enter(
    worth: Reals,
    since: Words,
    filed: Words,
    heap_worth: Reals,
    heap_since: Words,
    heap_id: Words,
    heap_n: Words,
    x: int,
    value: float,
    now: int,
) -> None:
    """File x under a priority; what was filed about it becomes stale."""
    worth[x] = value
    since[x] = now
    filed[x] = now
    if heap_n[0] == heap_n[1]:
        clear(filed, heap_worth, heap_since, heap_id, heap_n)
    at = heap_n[0]
    heap_n[0] = at + 1
    while at > 0:
        up = (at - 1) >> 2
        if heap_worth[up] <= value:  # as `now` is later than all that is filed
            break
        heap_worth[at] = heap_worth[up]
        heap_since[at] = heap_since[up]
        heap_id[at] = heap_id[up]
        at = up
    heap_worth[at] = value
    heap_since[at] = now
    heap_id[at] = x


def renew(
    worth: Reals,
    since: Words,
    filed: Words,
    heap_worth: Reals,
    heap_since: Words,
    heap_id: Words,
    heap_n: Words,
    x: int,
    value: float,
    now: int,
) -> None:
    """Give x, which is filed, another priority."""
    if value < worth[x]:
        enter(worth, since, filed, heap_worth, heap_since, heap_id, heap_n, x, value, now)
    else:
        worth[x] = value
        since[x] = now


def forget(filed: Words, since: Words, x: int) -> None:
    """Take x out."""
    filed[x] = -1
    since[x] = -1


def lowest(
    worth: Reals, since: Words, filed: Words, heap_worth: Reals, heap_since: Words, heap_id: Words, heap_n: Words
) -> int:
    """The object with the lowest priority, or -1 when there is none."""
    while heap_n[0] > 0:
        x = heap_id[0]
        if filed[x] != heap_since[0]:
            end = heap_n[0] - 1
            heap_n[0] = end
            sink(heap_worth, heap_since, heap_id, end, 0, heap_worth[end], heap_since[end], heap_id[end])
        elif since[x] != filed[x]:
            filed[x] = since[x]
            sink(heap_worth, heap_since, heap_id, heap_n[0], 0, worth[x], since[x], x)
        else:
            return x
    return -1


def sink(heap_worth: Reals, heap_since: Words, heap_id: Words, n: int, at: int, value: float, now: int, x: int) -> None:
    """Put an entry in its place at or below `at`."""
    down = 4 * at + 1
    while down < n:
        least = down
        for other in range(down + 1, min(down + 4, n)):
            if heap_worth[other] < heap_worth[least] or (
                heap_worth[other] == heap_worth[least] and heap_since[other] < heap_since[least]
            ):
                least = other
        if value < heap_worth[least] or (value == heap_worth[least] and now <= heap_since[least]):
            break
        heap_worth[at] = heap_worth[least]
        heap_since[at] = heap_since[least]
        heap_id[at] = heap_id[least]
        at = least
        down = 4 * at + 1
    heap_worth[at] = value
    heap_since[at] = now
    heap_id[at] = x


def clear(filed: Words, heap_worth: Reals, heap_since: Words, heap_id: Words, heap_n: Words) -> None:
    """Drop the stale entries."""
    to = 0
    for at in range(heap_n[0]):
        if filed[heap_id[at]] == heap_since[at]:
            heap_worth[to] = heap_worth[at]
            heap_since[to] = heap_since[at]
            heap_id[to] = heap_id[at]
            to += 1
    heap_n[0] = to
    for at in range((to + 2) // 4, -1, -1):
        if at < to:
            sink(heap_worth, heap_since, heap_id, to, at, heap_worth[at], heap_since[at], heap_id[at])
