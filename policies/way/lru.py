"""Least recently used."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.way.contract import State, Words

ONES = 0x111111111111111
TOPS = 0x888888888888888


@register(
    "lru", family="way-replacement", paper="Mattson et al., IBM Systems Journal 9(2), 1970, doi:10.1147/sj.92.0078"
)
class Lru:
    """Evicts the line that was used longest ago.

    Up to 15 ways the order of a set is a stack of 4-bit way numbers in one word, the last used lowest; more ways keep a
    time stamp each.
    """

    hit_is_idempotent: ClassVar[bool] = True

    @staticmethod
    def state(sets: int, ways: int, seed: int) -> State:
        if ways > 15:
            return np.zeros((sets, ways + 1), np.int64)
        order = sum((ways - 1 - place) << (4 * place) for place in range(ways))
        return np.full((sets, 1), order, np.int64)

    @staticmethod
    def hit(s: Words, at: int, way: int, ways: int) -> None:
        if ways > 15:
            s[at + ways] += 1
            s[at + way] = s[at + ways]
        else:
            order = s[at]
            differ = order ^ (way * ONES)
            found = (differ - ONES) & ~differ & TOPS  # marks the lowest zero nibble of `differ`: where `way` stands
            mark = found & -found
            newer = (mark >> 3) - 1
            older = ~((mark << 1) - 1)
            s[at] = (order & older) | ((order & newer) << 4) | way

    @staticmethod
    def fill(s: Words, at: int, way: int, ways: int) -> None:
        Lru.hit(s, at, way, ways)

    @staticmethod
    def victim(s: Words, at: int, allowed: int, ways: int) -> int:
        if ways > 15:
            best = -1
            for way in range(ways):
                if (allowed >> (way & 63)) & 1 and (best < 0 or s[at + way] < s[at + best]):
                    best = way
            return best
        place = 4 * (ways - 1)
        while not (allowed >> ((s[at] >> place) & 15)) & 1:
            place -= 4
        return (s[at] >> place) & 15
