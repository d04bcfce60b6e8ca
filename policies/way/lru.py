"""Least recently used."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.way.contract import State, Words

ONES = 0x111111111111111
TOPS = 0x888888888888888
LOW = 0x0FFFFFFFFFFFFFF


@register(
    "lru", family="way-replacement", paper="Mattson et al., IBM Systems Journal 9(2), 1970, doi:10.1147/sj.92.0078"
)
class Lru:
    """Evicts the line that was used longest ago.

    Up to 16 ways the order of a set is a stack of 4-bit way numbers in one word, the last used lowest, so that a set of
    any cache costs eight bytes; of 16 ways the bottom of the stack is the one that is missing from the word. More ways
    keep a time stamp each.
    """

    hit_is_idempotent: ClassVar[bool] = True
    in_order_of_use: ClassVar[bool] = True

    @staticmethod
    def state(sets: int, ways: int, seed: int) -> State:
        if ways > 16:
            return np.zeros((sets, ways + 1), np.int64)
        order = sum((ways - 1 - place) << (4 * place) for place in range(min(ways, 15)))
        return np.full((sets, 1), order, np.int64)

    @staticmethod
    def hit(s: Words, at: int, way: int, ways: int) -> None:
        if ways > 16:
            s[at + ways] += 1
            s[at + way] = s[at + ways]
            return
        order = s[at]
        differ = order ^ (way * ONES)
        found = (differ - ONES) & ~differ & TOPS  # marks the lowest zero nibble of `differ`: where `way` stands
        if found == 0:  # it is the one that the word leaves out
            s[at] = (order & LOW) << 4 | way
            return
        mark = found & -found
        newer = (mark >> 3) - 1
        older = ~((mark << 1) - 1)
        s[at] = (order & older) | ((order & newer) << 4) | way

    @staticmethod
    def fill(s: Words, at: int, way: int, ways: int) -> None:
        Lru.hit(s, at, way, ways)

    @staticmethod
    def renew(s: Words, at: int, ways: int) -> int:
        if ways > 15:
            way = Lru.victim(s, at, -1, ways)
            Lru.fill(s, at, way, ways)
            return way
        order = s[at]
        way = (order >> 4 * (ways - 1)) & 15
        s[at] = ((order << 4) & ((1 << 4 * ways) - 1)) | way
        return way

    @staticmethod
    def victim(s: Words, at: int, allowed: int, ways: int) -> int:
        if ways > 16:
            best = -1
            for way in range(ways):
                if (allowed >> (way & 63)) & 1 and (best < 0 or s[at + way] < s[at + best]):
                    best = way
            return best
        order = s[at]
        place = 4 * (ways - 1)
        if ways == 16:  # all sixteen numbers together are zero under exclusive or
            last = order ^ (order >> 32)
            last ^= last >> 16
            last ^= last >> 8
            last = (last ^ (last >> 4)) & 15
            if (allowed >> last) & 1:
                return last
            place = 56
        while not (allowed >> ((order >> place) & 15)) & 1:
            place -= 4
        return (order >> place) & 15
