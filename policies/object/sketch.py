"""How often objects were asked for lately, counted approximately: a count-min sketch of four rows that ages.

An object has one counter in each row, its count is the least of the four, and only counters with that value are raised
(conservative update). They stop at 15. When as many requests were counted as `SAMPLE` times the objects that the cache
can hold, all are halved, and so is the count of requests; a cache holds its capacity over the mean size of requests so
far. With a doorkeeper, a Bloom filter that ageing empties, the first request for an object goes there and no further.

The four counters lie in one block of 64 bytes. ``sketch`` has a byte for each counter; ``sketch_n`` holds the mask of
block numbers, the requests counted since the ageing, all requests and their bytes; ``door`` is the doorkeeper.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim.policies.object.contract import Words
from tiersim.policies.way.random_ import mix

__all__ = ["count", "counted", "sketch"]

SAMPLE = 10
COUNTERS = 16  # for each object that the cache can hold
FULL = 15
ROUND = 0x5BD1E995  # any number: makes the second hash another one
SKETCH_MASK, SINCE_AGEING, ALL_REQUESTS, ALL_BYTES, DOOR_MASK = range(5)


def sketch(most: int, doorkeeper: bool) -> dict[str, NDArray[Any]]:
    """The arrays for a cache that can hold so many objects at once."""
    blocks = 1 << (COUNTERS * max(most, 8) // 64 - 1).bit_length()
    bits = 1 << (8 * SAMPLE * max(most, 8) - 1).bit_length() if doorkeeper else 8
    return {
        "sketch": np.zeros(64 * blocks, np.uint8),
        "sketch_n": np.array([blocks - 1, 0, 0, 0, bits - 1], np.int64),
        "door": np.zeros(bits // 8, np.uint8),
    }


def count(sketch: Words, sketch_n: Words, door: Words, x: int, size: int, capacity: int, doorkeeper: bool) -> None:
    """Count a request for x."""
    sketch_n[SINCE_AGEING] += 1
    sketch_n[ALL_REQUESTS] += 1
    sketch_n[ALL_BYTES] += size
    if not doorkeeper or pass_door(door, sketch_n[DOOR_MASK], x, True):
        first = mix(x)
        within = mix(first ^ ROUND)
        row = 64 * (first & sketch_n[SKETCH_MASK])
        a = row + (within & 15)
        b = row + 16 + (within >> 4 & 15)
        c = row + 32 + (within >> 8 & 15)
        d = row + 48 + (within >> 12 & 15)
        least = min(min(sketch[a], sketch[b]), min(sketch[c], sketch[d]))
        if least < FULL:
            if sketch[a] == least:
                sketch[a] = least + 1
            if sketch[b] == least:
                sketch[b] = least + 1
            if sketch[c] == least:
                sketch[c] = least + 1
            if sketch[d] == least:
                sketch[d] = least + 1
    mean = sketch_n[ALL_BYTES] / sketch_n[ALL_REQUESTS]
    if sketch_n[SINCE_AGEING] * mean >= SAMPLE * capacity:
        sketch_n[SINCE_AGEING] >>= 1
        for at in range(64 * (sketch_n[SKETCH_MASK] + 1)):
            sketch[at] >>= 1
        if doorkeeper:
            for at in range(sketch_n[DOOR_MASK] + 1 >> 3):
                door[at] = 0


def counted(sketch: Words, sketch_n: Words, door: Words, x: int, doorkeeper: bool) -> int:
    """How often x was counted lately, about."""
    first = mix(x)
    within = mix(first ^ ROUND)
    row = 64 * (first & sketch_n[SKETCH_MASK])
    ab = min(sketch[row + (within & 15)], sketch[row + 16 + (within >> 4 & 15)])
    cd = min(sketch[row + 32 + (within >> 8 & 15)], sketch[row + 48 + (within >> 12 & 15)])
    if doorkeeper and pass_door(door, sketch_n[DOOR_MASK], x, False):
        return min(ab, cd) + 1
    return min(ab, cd)


def pass_door(door: Words, mask: int, x: int, mark: bool) -> bool:
    """Whether x has been at the door, with four bits out of eight for each object; it is marked there if wanted."""
    at = mix(x)
    step = mix(at ^ ROUND) | 1
    known = True
    for _ in range(4):
        bit = 1 << (at & 7)
        place = (at & mask) >> 3
        if not door[place] & bit:
            known = False
            if mark:
                door[place] |= bit
        at += step
    return known
