"""A lazy LRU in verbs, with nothing but arrays."""

from __future__ import annotations

import numpy as np

from tiersim.policies.object.contract import State, Words


class SlowLazy:
    """Evicts the object that was moved longest ago; it enters by being moved, and every second hit moves it."""

    @staticmethod
    def state(objects: int) -> State:
        return {"moved": np.zeros(objects, np.int64), "hits": np.zeros(objects, np.int64)}

    @staticmethod
    def lookup(moved: Words, x: int) -> bool:
        return moved[x] > 0

    @staticmethod
    def touch(moved: Words, hits: Words, x: int, now: int) -> None:
        hits[x] += 1
        if hits[x] % 2 == 0:
            moved[x] = now + 1

    @staticmethod
    def insert(moved: Words, hits: Words, x: int, now: int) -> None:
        moved[x] = now + 1
        hits[x] = 0

    @staticmethod
    def victim(moved: Words, objects: int) -> int:
        found = -1
        for x in range(objects):
            if moved[x] > 0 and (found < 0 or moved[x] < moved[found]):
                found = x
        return found

    @staticmethod
    def remove(moved: Words, x: int) -> None:
        moved[x] = 0
