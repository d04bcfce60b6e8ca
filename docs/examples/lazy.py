"""A lazy LRU in verbs, on a queue."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from tiersim._base.params import Param
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.queues import leave, move, oldest, queues


class Lazy:
    """Evicts what stands at the old end; every so many hits move an object to the new end."""

    every: Annotated[int, Param("hits of an object for one move", ge=1)] = 2

    @staticmethod
    def state(objects: int, most: int) -> State:
        return queues(1, most, objects) | {"hits": np.zeros(objects, np.int32)}

    @staticmethod
    def lookup(spot: Words, x: int) -> bool:
        return spot[x] >= 0

    @staticmethod
    def touch(queue: Words, ends: Words, spot: Words, hits: Words, x: int, every: int) -> None:
        hits[x] += 1
        if hits[x] % every == 0:
            move(queue, ends, spot, 0, x)

    @staticmethod
    def insert(queue: Words, ends: Words, spot: Words, hits: Words, x: int) -> None:
        move(queue, ends, spot, 0, x)
        hits[x] = 0

    @staticmethod
    def victim(queue: Words, ends: Words, spot: Words) -> int:
        return oldest(queue, ends, spot, 0)

    @staticmethod
    def remove(spot: Words, x: int) -> None:
        leave(spot, x)
