"""Queues that objects enter as the newest, leave as the oldest, and may be taken out of anywhere.

All queues of a policy lie in one array ``queue``, each in a ring of its own, and ``spot[x]`` is the one place of that
array where the entry of x counts (-1: in no queue). Whatever else stands there about x is stale and skipped when it
gets old. So taking x out, or moving it to the newest end of any queue, is one store; there are no neighbours to mend,
which on a processor is the difference between waiting for three objects and for none.

``ends`` holds the size of a ring, then for each queue how many entries were pushed and how many left, both counted from
the beginning of time; ``ends[1 + 2 * k]`` and ``ends[2 + 2 * k]``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim.policies.object.contract import Words

__all__ = ["leave", "move", "newest", "oldest", "queues"]

SLACK = 4  # places for each object that can be in a queue: a ring that is full of stale entries is swept


def queues(lists: int, most: int, objects: int) -> dict[str, NDArray[Any]]:
    """The arrays of so many queues, none of which ever holds more than `most` of the objects."""
    ring = 1 << (SLACK * max(most, 4) - 1).bit_length()
    ends = np.zeros(1 + 2 * lists, np.int64)
    ends[0] = ring
    return {
        "queue": np.zeros(ring * lists, np.int32),
        "ends": ends,
        "spot": np.full(objects, -1, np.int32),
    }


def move(queue: Words, ends: Words, spot: Words, k: int, x: int) -> None:
    """Make x the newest of queue k, wherever it was before."""
    ring = ends[0]
    pushed = ends[1 + 2 * k]
    if pushed - ends[2 + 2 * k] == ring:
        sweep(queue, ends, spot, k)
        pushed = ends[1 + 2 * k]
    place = k * ring + (pushed & (ring - 1))
    queue[place] = x
    spot[x] = place
    ends[1 + 2 * k] = pushed + 1


def leave(spot: Words, x: int) -> None:
    """Take x out of the queue that it is in."""
    spot[x] = -1


def oldest(queue: Words, ends: Words, spot: Words, k: int) -> int:
    """The oldest object of queue k, or -1 when it is empty."""
    ring = ends[0]
    left = ends[2 + 2 * k]
    pushed = ends[1 + 2 * k]
    while left < pushed:
        place = k * ring + (left & (ring - 1))
        x = queue[place]
        if spot[x] == place:
            ends[2 + 2 * k] = left
            return x
        left += 1
    ends[2 + 2 * k] = left
    return -1


def newest(queue: Words, ends: Words, spot: Words, k: int) -> int:
    """The newest object of queue k, or -1 when it is empty."""
    ring = ends[0]
    left = ends[2 + 2 * k]
    pushed = ends[1 + 2 * k]
    while left < pushed:
        place = k * ring + ((pushed - 1) & (ring - 1))
        x = queue[place]
        if spot[x] == place:
            ends[1 + 2 * k] = pushed
            return x
        pushed -= 1
    ends[1 + 2 * k] = pushed
    return -1


def sweep(queue: Words, ends: Words, spot: Words, k: int) -> None:
    """Drop the stale entries of a full ring, the others move to its newer end."""
    ring = ends[0]
    left = ends[2 + 2 * k]
    at = ends[1 + 2 * k]
    to = at
    while at > left:
        at -= 1
        place = k * ring + (at & (ring - 1))
        x = queue[place]
        if spot[x] == place:
            to -= 1
            place = k * ring + (to & (ring - 1))
            queue[place] = x
            spot[x] = place
    ends[2 + 2 * k] = to
