"""The object with the smallest key, where a key can only grow while its object is in the cache.

Such keys are times of use or counts of uses. A touch then only stores the new key: ``key[x]``. What is filed about x,
in a queue or in the heap, may be older, and so smaller, than its key; when it gets to the front it is filed anew. The
first that is filed under its own key is the smallest of all. So a hit is one store, and the heap works for the few
objects that get near to eviction.

``heap_key`` and ``heap_id`` are the heap, as flat arrays, and ``filed[x]`` is the key that x is filed under in it, or
-1 when it is not in the heap; an entry whose key is another is stale. ``heap_n[0]`` counts the entries. Keys have to
differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim.policies.object.contract import Words

__all__ = ["file", "heap", "smallest", "withdraw"]

ROOM = 2  # entries for each object that can be in the heap, half of them stale at the most when it is cleared up


def heap(most: int, objects: int) -> dict[str, NDArray[Any]]:
    """The arrays of a heap that never holds more than `most` of the objects."""
    room = ROOM * max(most, 4)
    return {
        "heap_key": np.zeros(room, np.int64),
        "heap_id": np.zeros(room, np.int32),
        "heap_n": np.array([0, room], np.int64),
        "filed": np.full(objects, -1, np.int64),
    }


def file(heap_key: Words, heap_id: Words, heap_n: Words, filed: Words, x: int, key: int) -> None:
    """Put x into the heap under a key; it is not in it."""
    if heap_n[0] == heap_n[1]:
        clear(heap_key, heap_id, heap_n, filed)
    at = heap_n[0]
    heap_n[0] = at + 1
    filed[x] = key
    while at > 0:
        up = (at - 1) >> 1
        if heap_key[up] <= key:
            break
        heap_key[at] = heap_key[up]
        heap_id[at] = heap_id[up]
        at = up
    heap_key[at] = key
    heap_id[at] = x


def withdraw(filed: Words, x: int) -> None:
    """Take x out of the heap, if it is in it."""
    filed[x] = -1


def smallest(heap_key: Words, heap_id: Words, heap_n: Words, filed: Words, key: Words) -> int:
    """The object of the heap whose key is the smallest, or -1 when it is empty."""
    while heap_n[0] > 0:
        x = heap_id[0]
        if filed[x] != heap_key[0]:
            last = heap_n[0] - 1
            heap_n[0] = last
            sink(heap_key, heap_id, last, 0, heap_key[last], heap_id[last])
        elif key[x] != filed[x]:
            filed[x] = key[x]
            sink(heap_key, heap_id, heap_n[0], 0, key[x], x)
        else:
            return x
    return -1


def sink(heap_key: Words, heap_id: Words, n: int, at: int, key: int, x: int) -> None:
    """Put an entry in its place at or below `at`."""
    down = 2 * at + 1
    while down < n:
        if down + 1 < n and heap_key[down + 1] < heap_key[down]:
            down += 1
        if heap_key[down] >= key:
            break
        heap_key[at] = heap_key[down]
        heap_id[at] = heap_id[down]
        at = down
        down = 2 * at + 1
    heap_key[at] = key
    heap_id[at] = x


def clear(heap_key: Words, heap_id: Words, heap_n: Words, filed: Words) -> None:
    """Drop the stale entries."""
    to = 0
    for at in range(heap_n[0]):
        if filed[heap_id[at]] == heap_key[at]:
            heap_key[to] = heap_key[at]
            heap_id[to] = heap_id[at]
            to += 1
    heap_n[0] = to
    for at in range(to // 2 - 1, -1, -1):
        sink(heap_key, heap_id, to, at, heap_key[at], heap_id[at])
