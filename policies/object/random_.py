"""Random replacement."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.way.random_ import LOW, mix

HELD, DRAWS, KEY = range(3)  # in `n`


@register("random", family="object-replacement", paper="Belady, IBM Systems Journal 5(2), 1966, doi:10.1147/sj.52.0078")
class Random:
    """Evicts an object drawn at random, each as likely as the others whatever its size.

    A draw is a hash of the seed and of how many objects were evicted before, so that asking twice for the victim gives
    the same one, and the same seed the same victims. libCacheSim 0.3.5 draws a row of its hash table and takes the
    first object there, so that its draws are not quite even: 1.2 % more misses on Zipf requests, where even draws miss
    as often as first in, first out (Gelenbe, IEEE Transactions on Computers 22(6), 1973, doi:10.1109/TC.1973.5009120).
    """

    random: ClassVar[bool] = True

    @staticmethod
    def state(objects: int, most: int, seed: int) -> State:
        # held: the objects in the cache in any order, the first n[HELD] words; spot: where in it, -1 out
        key = int(np.random.SeedSequence(seed).generate_state(1, np.uint32)[0])
        return {
            "held": np.zeros(max(most, 1), np.int32),
            "spot": np.full(objects, -1, np.int32),
            "n": np.array([0, 0, key], np.int64),
        }

    @staticmethod
    def lookup(spot: Words, x: int) -> bool:
        return spot[x] >= 0

    @staticmethod
    def touch() -> None:
        return

    @staticmethod
    def insert(held: Words, spot: Words, n: Words, x: int) -> None:
        held[n[HELD]] = x
        spot[x] = n[HELD]
        n[HELD] += 1

    @staticmethod
    def victim(held: Words, n: Words) -> int:
        drawn = mix(mix(n[DRAWS] & LOW) ^ mix(n[DRAWS] >> 32) ^ n[KEY])
        return held[(drawn * n[HELD]) >> 32]

    @staticmethod
    def evict(held: Words, spot: Words, n: Words, x: int) -> None:
        n[DRAWS] += 1
        Random.remove(held, spot, n, x)

    @staticmethod
    def remove(held: Words, spot: Words, n: Words, x: int) -> None:
        n[HELD] -= 1
        last = held[n[HELD]]
        held[spot[x]] = last
        spot[last] = spot[x]
        spot[x] = -1
